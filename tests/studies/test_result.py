"""What a run comes to: the best is never below the last, and a damaged photograph costs no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from roadmap.record import RunFolder
from studies.attempt import result
from studies.attempt.data import open_data, photographs
from studies.attempt.result import Evaluation, better, conclude, evaluate
from studies.attempt.training import build_for_training, wired_trainer
from tests.studies.small_runs import make_data, small_run
from yolox_core.evaluation.collect import METRICS, Detections
from yolox_core.training.distributed import World

RUN = small_run()


def evaluation(epoch: int, ap: float | None) -> Evaluation:
    return Evaluation(epoch, {**dict.fromkeys(METRICS), "AP": ap}, Detections.empty())


@pytest.mark.parametrize(
    ("kept", "last", "epoch"),
    [(5.0, 4.0, 1), (0.0, 0.5, 2), (5.0, 5.0, 2), (None, None, 2), (None, 0.0, 2), (0.0, None, 1)],
)
def test_the_better_one_and_of_equals_the_later(kept: float | None, last: float | None, epoch: int) -> None:
    assert better(evaluation(1, kept), evaluation(2, last)).epoch == epoch
    assert better(evaluation(2, last), evaluation(1, kept)).epoch == epoch


def concluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aps: dict[int, float], broken: bool) -> Any:
    """A trainer with the weights of epoch 1 kept as best, at the end of its run; best.pt then."""
    folder = RunFolder(tmp_path / "run")
    data = open_data(make_data(tmp_path / "data"), None, World())
    monkeypatch.setattr(result, "evaluate", lambda model, epoch, *_: evaluation(epoch, aps[epoch]))
    monkeypatch.setattr(result, "latency_of", lambda *_: None)
    monkeypatch.setattr(result, "full_size_profile", lambda *_: None)
    detector = build_for_training(RUN, None, data, World())
    wiring = wired_trainer(
        detector,
        RUN.recipe.ingredients,
        RUN.recipe.training,
        data.train,
        seed=0,
        world=World(),
        checkpoints=folder.checkpoints,
    )
    with wiring as trainer:
        trainer.keep_as_best(1)
        if broken:
            path = folder.checkpoints / "best.pt"
            path.write_bytes(path.read_bytes()[:5000])
        row = {"seconds": 1.0, "data_wait": 0.0, "memory_mb": 1.0, "iteration": 8}
        trainer.history = [row, row]
        summary = conclude(RUN, folder, trainer, data, [], 1, 0)
    assert summary is not None
    best = trainer.store.load_best()
    assert best is not None
    return summary, best, folder


@pytest.mark.parametrize(("first", "last", "chosen"), [(3.0, 2.0, 1), (0.0, 0.5, 2), (2.0, 2.0, 2)])
def test_best_is_chosen_by_what_is_reported_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float, last: float, chosen: int
) -> None:
    summary, best, _ = concluded(tmp_path, monkeypatch, {1: first, 2: last}, broken=False)
    assert (summary.best.epoch, summary.last.epoch) == (chosen, 2)
    assert max(first, last) == summary.best.AP
    assert best["epoch"] == chosen, "what export and evaluate --run take"


def test_broken_best_weights_cost_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    summary, best, folder = concluded(tmp_path, monkeypatch, {1: 3.0, 2: 2.0}, broken=True)
    assert summary.best.epoch == best["epoch"] == 2
    assert (folder.checkpoints / "best.pt.broken").exists()
    assert "the last epoch's weights take its place" in caplog.text


def test_training_is_evaluated_at_the_confidence_that_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(make_data(tmp_path), None, World())
    seen = []

    def collect(
        model: object, dataset: object, size: int, confidence: float, *_: object, **__: object
    ) -> Any:
        seen.append(confidence)
        return Detections.empty()

    monkeypatch.setattr(result, "collect_detections", collect)
    detector = build_for_training(RUN, None, data, World())
    evaluate(detector, 1, RUN.recipe.training, data, World(), 0)
    assert seen == [RUN.recipe.training.final_confidence]


def test_a_photograph_damaged_after_the_start_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = open_data(make_data(tmp_path), None, World())
    (tmp_path / "val2017" / "1.jpg").write_bytes(b"no picture")
    evaluated = []

    def metrics(file: Path, detections: Detections, ids: list[int]) -> dict[str, float | None]:
        evaluated.append(ids)
        return dict.fromkeys(METRICS)

    monkeypatch.setattr(result, "coco_metrics", metrics)
    detector = build_for_training(RUN, None, data, World())
    for _ in range(2):
        evaluate(detector, 1, RUN.recipe.training, data, World(), 0)
    assert evaluated == [[1, 3, 4]] * 2
    assert data.skipped() == {"train": 0, "val": 1}
    assert caplog.text.count("left out of the evaluation: 1.jpg") == 1
    assert len(photographs(data.val, 32, 64)) == 3, "nor is latency lost to it"


def test_damage_that_another_process_met_is_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {"3.jpg": "can't be decoded"}
    monkeypatch.setattr(
        World, "gather", lambda world, own: [own, elsewhere] if isinstance(own, dict) else [own]
    )
    summary, _, _ = concluded(tmp_path, monkeypatch, {1: 1.0, 2: 2.0}, broken=False)
    assert summary.dataset.skipped.train == 1


def test_processes_share_photographs(tmp_path: Path) -> None:
    data = open_data(make_data(tmp_path, train=5), None, World())
    shares = [photographs(data.train, 4, 64, rank, 3) for rank in range(3)]
    assert [len(share) for share in shares] == [2, 1, 1]
    dealt = torch.stack([shares[0][0], shares[1][0], shares[2][0], shares[0][1]])
    assert dealt.equal(photographs(data.train, 4, 64))


def test_no_photograph_is_no_error(tmp_path: Path) -> None:
    data = open_data(make_data(tmp_path), None, World())
    for file in (tmp_path / "val2017").iterdir():
        file.write_bytes(b"")
    assert photographs(data.val, 32, 64).shape == (0, 3, 64, 64)
    assert photographs(data.val, 32, 64).numpy().dtype == np.float32
