"""Who has lost a run to another process learns of it, and nobody else."""

from __future__ import annotations

import threading
from pathlib import Path

from roadmap.record import RunFolder
from slurm.rescue import set_aside
from studies.attempt.lock_watch import watched


def test_a_run_that_another_process_took_is_noticed(tmp_path: Path) -> None:
    folder, lost, seen = RunFolder(tmp_path / "run"), threading.Event(), threading.Event()

    class WatchedPath(type(tmp_path)):  # type: ignore[misc]
        """Tells when it was looked at."""

        def stat(self, *, follow_symlinks: bool = True) -> object:
            try:
                return super().stat(follow_symlinks=follow_symlinks)
            finally:
                seen.set()

    with folder.lock(), watched(WatchedPath(folder.path / "lock"), lost.set, 0.01):

        def look_twice() -> None:
            for _ in range(2):
                seen.clear()
                assert seen.wait(60)

        look_twice()
        assert not lost.is_set(), "our own lock"
        set_aside(folder)
        look_twice()
        assert not lost.is_set(), "set aside, and nobody else has the run"
        with folder.lock():
            assert lost.wait(60)
