"""Checkpoints: written atomically, the last two kept, a broken one passed over."""

from __future__ import annotations

import logging
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

KEPT = 2


@dataclass(frozen=True)
class CheckpointStore:
    """A folder of ``iteration-<n>.pt`` files, n counted from the start of the run, and ``best.pt``."""

    folder: Path

    def save(self, state: dict[str, Any], iteration: int) -> Path:
        """Write a checkpoint and drop all but the last two. Raises OSError when the disk is full; what
        was there before stays.
        """
        path = self._write(state, f"iteration-{iteration:09d}.pt")
        for old in self._paths()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def save_best(self, state: dict[str, Any]) -> Path:
        """Write the weights of the best evaluated epoch."""
        return self._write(state, "best.pt")

    def load_latest(self, device: torch.device | str) -> dict[str, Any] | None:
        """The newest readable checkpoint, None when there is none. Weights and plain types only."""
        for path in reversed(self._paths()):
            try:
                return _load(path, device)
            except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
                log.warning("checkpoint %s is broken (%s); trying the one before", path.name, error)
        return None

    def load_best(self, device: torch.device | str) -> dict[str, Any] | None:
        """The weights of the best evaluated epoch, None when there are none."""
        path = self.folder / "best.pt"
        return _load(path, device) if path.exists() else None

    def clear(self) -> None:
        """Remove every checkpoint."""
        for path in (*self._paths(), self.folder / "best.pt"):
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("iteration-*.pt"))

    def _write(self, state: dict[str, Any], name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        temporary = self.folder / f".{name}.{os.getpid()}.tmp"
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except RuntimeError as error:
            # torch's archive writer reports a full disk as a RuntimeError
            raise OSError(f"cannot write {path}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return path


def _load(path: Path, device: torch.device | str) -> dict[str, Any]:
    return torch.load(path, map_location=device, weights_only=True)
