"""The probe: its arithmetic by hand, and a second of real training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadmap.cost import cost
from roadmap.datasets import describe_dataset
from roadmap.protocols import SMOKE
from roadmap.stages import stage_recipe
from studies.attempt import probe
from studies.attempt.probe import WARM_UP, Stopwatch

RECIPE = stage_recipe("simota", SMOKE, describe_dataset(None))


def test_only_warm_iterations_count_each_at_its_own_side() -> None:
    """Blocks of five: the first is warm-up, the second the first at 96 px, and then two count."""
    watch = Stopwatch(RECIPE, seconds=5)
    assert WARM_UP == 5
    watch.settled([64] * 5, 100.0)
    watch.settled([96] * 5, 50.0)
    assert (watch.elapsed, watch.is_over()) == (0, False)
    watch.settled([96] * 5, 3.0)
    assert not watch.is_over()
    watch.settled([96, 96, 64, 64, 64], 2.0)
    assert watch.elapsed == 5
    assert watch.is_over()
    forward = {side: 2 * cost(RECIPE.model, RECIPE.ingredients, side).macs for side in (64, 96)}
    assert watch.done["flops"] == 3 * (7 * forward[96] + 3 * forward[64]) * RECIPE.training.batch_size
    assert watch.done["images"] == 10 * RECIPE.training.batch_size


def test_a_block_with_a_new_side_does_not_count_as_a_whole() -> None:
    watch = Stopwatch(RECIPE, seconds=1)
    watch.settled([64] * 5, 1.0)
    watch.settled([64, 64, 96], 7.0)
    assert watch.done["iterations"] == 0
    watch.settled([96], 1.0)
    assert (watch.done["iterations"], watch.elapsed) == (1, 1.0)


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
