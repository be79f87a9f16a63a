"""The probe: its arithmetic by hand, and a second of real training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadmap.cost import cost
from roadmap.datasets import describe_dataset
from roadmap.protocols import SMOKE, stage_recipe
from studies.attempt import probe
from studies.attempt.probe import WARM_UP, Stopwatch

RECIPE = stage_recipe("simota", SMOKE, describe_dataset(None))


def test_the_clock_starts_after_the_warm_up() -> None:
    """An iteration per second; two after the warm-up, at different sides."""
    watch = Stopwatch(RECIPE, seconds=2)
    for moment in range(WARM_UP):
        watch.tick(64, float(moment))
        assert not watch.is_over()
    assert watch.elapsed == 0
    watch.tick(64, float(WARM_UP))
    assert not watch.is_over()
    watch.tick(96, float(WARM_UP + 1))
    assert watch.is_over()
    assert watch.elapsed == 2
    forward = [2 * cost(RECIPE.model, RECIPE.ingredients, side).macs for side in (64, 96)]
    assert watch.done["flops"] == 3 * sum(forward) * RECIPE.training.batch_size
    assert watch.done["images"] == 2 * RECIPE.training.batch_size


@pytest.mark.slow
def test_a_second_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "made" / "probe.json"
    arguments = ["--protocol", "smoke", "--seconds", "1", "--workers", "0", "--device", "cpu"]
    assert probe.main([*arguments, "--output", str(output)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(output.read_text())
    assert told["seconds"] >= 1
    assert told["images_per_second"] * told["seconds"] == pytest.approx(
        told["iterations"] * RECIPE.training.batch_size
    )
    assert 1e-5 < told["tflops_per_gpu"] < 10


def test_a_wrong_dataset_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        probe.main(["--data", str(tmp_path)])
    assert caught.value.code == 2
    assert "is missing" in capsys.readouterr().err
