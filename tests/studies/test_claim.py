"""Who may work on a run, looked at before the lock and again behind it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from roadmap.record import RunFolder
from studies.attempt import runner
from studies.attempt.runner import Options
from studies.attempt.stopping import FINISHED

RECORD = Path(__file__).parents[1] / "roadmap" / "fixtures" / "roadmap" / "simota-s0-3b59b900"


def test_a_run_that_another_process_finishes_meanwhile_is_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(Path(shutil.copytree(RECORD, tmp_path / "runs" / "roadmap" / RECORD.name)))
    (folder.path / "result.json").unlink()
    lock = RunFolder.lock

    @contextmanager
    def late(self: RunFolder) -> Iterator[None]:
        """The other process writes its result and lets go, and only then do we get the lock."""
        shutil.copy(RECORD / "result.json", self.path)
        with lock(self):
            yield

    monkeypatch.setattr(RunFolder, "lock", late)
    with ExitStack() as stack:
        options = Options(tmp_path / "runs", None, tmp_path / "embedded")
        assert runner._claim(folder, options, stack) == FINISHED
