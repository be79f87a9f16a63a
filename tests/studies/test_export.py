"""python -m studies.export: from a run or a checkpoint to a file under official names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig, Recipe, to_json
from roadmap.record import write_json
from roadmap.stages import ingredients_at
from studies.export import main
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS
from yolox_core.deploy.weights import read_state_dict, to_official

NANO = replace(MODELS["yolox-nano"], num_classes=3)


def test_a_run_is_exported_from_its_best_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = tmp_path / "runs" / "roadmap" / "x", tmp_path / "out.pth"
    ingredients = ingredients_at("nms-free")
    recipe = Recipe("demo", NANO, ingredients, DEMO.training, DatasetConfig("made-up", "0", 3, 1, 1))
    (folder / "checkpoints").mkdir(parents=True)
    write_json(folder / "recipe.json", {"recipe": to_json(recipe)})
    assert main(["--run", str(folder), "--output", str(output)]) == 1
    assert "best.pt" in capsys.readouterr().err
    assert not output.exists()
    detector = build_detector(NANO, ingredients)
    torch.save({"model": detector.state_dict(), "epoch": 4}, folder / "checkpoints" / "best.pt")
    assert main(["--run", str(folder), "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert "tensors of yolox-nano, 3 classes; the official code does not have: one_to_one_head" in text
    written, expected = read_state_dict(output), to_official(detector)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[key], value) for key, value in expected.items())
    assert list(torch.load(output, weights_only=True)) == ["model"]


def test_averaged_weights_of_a_training_checkpoint_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, averaged = (build_detector(NANO, YOLOX_INGREDIENTS).state_dict() for _ in range(2))
    checkpoint, output = tmp_path / "iteration-000000001.pt", tmp_path / "out.pth"
    torch.save({"model": raw, "ema": {"model": averaged, "updates": 9}, "epoch": 1}, checkpoint)
    given = ["--model", "yolox-nano", "--classes", "3", "--weights", str(checkpoint)]
    assert main([*given, "--output", str(output)]) == 0
    assert "does not have" not in capsys.readouterr().out
    key = "backbone.stem.conv.conv.weight"
    assert torch.equal(read_state_dict(output)[f"backbone.{key}"], averaged[key])


def test_what_does_not_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "best.pt"
    torch.save(build_detector(NANO, YOLOX_INGREDIENTS).state_dict(), checkpoint)
    given = ["--model", "yolox-nano", "--output", str(tmp_path / "out.pth")]
    assert main(given) == 1
    assert "--weights FILE is missing" in capsys.readouterr().err
    assert main([*given, "--weights", str(checkpoint)]) == 1
    assert "[3] in the file, [80] in the model" in capsys.readouterr().err
    assert not (tmp_path / "out.pth").exists()
