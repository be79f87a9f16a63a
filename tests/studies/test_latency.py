"""Latency with its judgement of the machine, and measured again later without losing what was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from roadmap.record import RunFolder, write_json, write_result
from studies.attempt import latency
from studies.attempt.latency import measure_again
from studies.profile import main
from tests.roadmap.records import identity_of, result_of
from tests.studies.small_runs import make_data, small_run
from yolox_core.build import build_detector
from yolox_core.data.coco import CocoDataset


def measured(folder: RunFolder, data: Path, others: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measure again while others keep so many cores busy; three passes are enough."""
    averages = iter([(0.2, 0.0, 0.0), (0.3, 0.0, 0.0)])
    monkeypatch.setattr(latency.os, "getloadavg", lambda: next(averages))
    monkeypatch.setattr(latency, "others_load", lambda *_: others)
    monkeypatch.setattr(latency, "LATENCY_REPEATS", 3)
    monkeypatch.setattr(latency, "prepare_process", lambda *_: None)
    run = small_run()
    detector = build_detector(run.recipe.model, run.recipe.ingredients)
    images = CocoDataset(data, "val2017")
    return measure_again(folder, detector, run.recipe.training, images, torch.device("cpu"))


def test_the_former_figure_is_kept_and_a_busy_machine_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = small_run(), make_data(tmp_path / "data")
    folder = RunFolder(tmp_path / "runs" / run.study / run.name)
    folder.path.mkdir(parents=True)
    with pytest.raises(ValueError, match="is not finished"):
        measured(folder, data, 0.0, monkeypatch)
    first = result_of(run)
    write_json(folder.path / "recipe.json", identity_of(run))
    write_result(folder, first)
    with pytest.raises(ValueError, match=r"kept 1\.0 cores busy meanwhile: .* is not recorded"):
        measured(folder, data, 1.0, monkeypatch)
    assert folder.result() == first
    found, former = measured(folder, data, 0.1, monkeypatch)
    assert former == first.latency
    after = folder.result()
    assert after is not None
    assert (after.latency, after.earlier_latencies) == (found, (first.latency,))
    assert (found.load_average, found.others_load, found.load_average_after) == (0.2, 0.1, 0.3)
    assert found.host
    assert found.measured
    assert found.name
    again, _ = measured(folder, data, 0.1, monkeypatch)
    last = folder.result()
    assert last is not None
    assert last.earlier_latencies == (first.latency, found)
    assert last.latency == again


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", str(tmp_path), "--latency"]) == 1
    assert "has no recipe.json; is it a run's folder?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--run", str(tmp_path)])
    assert "--run FOLDER goes with --latency" in capsys.readouterr().err
