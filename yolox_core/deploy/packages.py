"""The packages of the extra ``deploy``, imported where they are used: nobody else needs them."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

INSTALL = "pip install '.[deploy]'"


def need(module: str) -> Any:
    """A module of an engine's package. Raises ValueError that names the fix when it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ValueError(f"{package} is needed for this and does not load ({error}): {INSTALL}") from error


def versions(*packages: str) -> str:
    """``torch 2.14.1, onnx 1.23.2``"""
    return ", ".join(f"{package} {version(package)}" for package in packages)
