"""What an engine makes of a model: a file that is there already, or one that is exported for the occasion."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.words import counted
from yolox_core.deploy.card import ENGINES, FORMAT_OF, engine_of

if TYPE_CHECKING:
    from studies.evaluate import Subject
    from yolox_core.deploy.engine_detector import EngineDetector


def engine_name(subject: Subject, asked: str | None) -> str:
    """The engine that is asked for, or the file's. Raises ValueError when they are at odds."""
    if not subject.exported:
        return asked or "pytorch"
    own = engine_of(subject.weights)
    if asked not in (None, own):
        raise ValueError(f"{subject.weights} runs in {own}, not in {asked}")
    return own


def open_in_engine(
    subject: Subject, engine: str, class_names: Sequence[str], threads: int
) -> tuple[EngineDetector, dict[str, Any]]:
    """A subject in an engine, exported to float32 unless it is a file already; and under which conditions.

    Raises ValueError when its classes are not the dataset's.
    """
    from yolox_core.build import build_detector
    from yolox_core.deploy.engine_detector import EngineDetector
    from yolox_core.deploy.engines import open_engine
    from yolox_core.deploy.export import export_file, make_card
    from yolox_core.deploy.weights import load_official

    with tempfile.TemporaryDirectory() as folder:
        file = subject.weights
        if not subject.exported:
            file = Path(folder, f"model{ENGINES[engine]}")
            detector = build_detector(
                replace(subject.model, num_classes=len(class_names)), subject.ingredients
            )
            loaded = load_official(detector, subject.weights)
            if not loaded.complete:
                raise ValueError(f"{subject.weights} does not fill {subject.name}:\n{loaded}")
            card = make_card(detector, subject.name, class_names, subject.image_size)
            export_file(detector, card, FORMAT_OF[engine], file)
        opened = open_engine(file, threads)
    if opened.card.class_names != tuple(class_names):
        raise ValueError(
            f"{subject.weights} was exported for {counted(len(opened.card.class_names), 'class')}, "
            f"{', '.join(opened.card.class_names[:3])}, …; the dataset has others"
        )
    return EngineDetector(opened), {
        "engine_version": opened.version,
        "provider": opened.provider,
        "file_precision": opened.card.precision,
        "precision": opened.precision,
        "threads": opened.threads,
    }
