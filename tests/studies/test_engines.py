"""Export, evaluation and profile through an engine, from the command line: ncnn is the quickest to make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from roadmap.recipe import to_json
from roadmap.record import write_json
from studies import deploy, evaluate, export, profile
from studies.command.engine_latency import format_engines
from tests.studies.small_runs import make_data, small_run
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS

pytestmark = pytest.mark.deploy
for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "ncnn", "pnnx"):
    pytest.importorskip(package, reason="needs pip install '.[deploy]'")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with weights, as far as an export looks at it."""
    planned = small_run()
    folder = tmp_path_factory.mktemp("runs") / planned.name
    (folder / "checkpoints").mkdir(parents=True)
    write_json(folder / "recipe.json", {"recipe": to_json(planned.recipe)})
    write_json(folder / "environment.json", {"dataset": {"path": str(data)}})
    torch.manual_seed(0)
    detector = build_detector(planned.recipe.model, planned.recipe.ingredients)
    torch.save({"model": detector.state_dict()}, folder / "checkpoints" / "best.pt")
    return folder


def test_a_run_scores_the_same_in_an_engine(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.param"
    assert export.main(["--run", str(run), "--format", "ncnn", "--output", str(file)]) == 0
    text = capsys.readouterr().out
    assert "batch 1, fp32, with decoding" in text
    assert "differs from PyTorch on" in text
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["recipe_hash"] == json.dumps(small_run().recipe.hash)
    scored = []
    for given in (["--run", str(run)], ["--run", str(run), "--engine", "ncnn"], ["--exported", str(file)]):
        asked = [*given, "--data", str(data), "--device", "cpu", "--confidence", "0.0", "--json"]
        assert evaluate.main(asked) == 0
        scored.append(json.loads(capsys.readouterr().out))
    assert [report["engine"] for report in scored] == ["pytorch", "ncnn", "ncnn"]
    assert scored[1]["engine_version"].startswith("ncnn ")
    assert (scored[1]["threads"], scored[1]["precision"], scored[1]["file_precision"]) == (1, "fp32", "fp32")
    assert scored[1]["metrics"] == scored[2]["metrics"]
    assert scored[1]["metrics"]["AP"] == pytest.approx(scored[0]["metrics"]["AP"], abs=0.1)


def test_what_does_not_go_together_is_refused(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.param"
    for main, given, message in (
        (evaluate.main, ["--run", str(run), "--engine", "ncnn", "--device", "cuda"], "runs on the CPU here"),
        (evaluate.main, ["--exported", str(file), "--data", str(data)], "is missing; write it with"),
        (export.main, ["--run", str(run), "--format", "ncnn", "--output", "x.onnx"], "ends with .param"),
        (export.main, ["--stage", "simota", "--format", "ncnn", "--output", str(file)], "--untrained"),
        (
            export.main,
            ["--run", str(run), "--format", "ncnn", "--outputs", "detections", "--output", str(file)],
            "ncnn has no NMS",
        ),
    ):
        assert main(given) == 1
        assert message in capsys.readouterr().err


def test_a_float_file_that_is_too_far_from_pytorch_is_not_kept(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolox_core.deploy.parity.TOLERANCE", 0.0)
    file = tmp_path / "small.param"
    assert export.main(["--run", str(run), "--format", "ncnn", "--output", str(file)]) == 1
    assert "differs from PyTorch by more than" in capsys.readouterr().err
    assert not file.exists()


def test_engines_are_profiled_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", "yolox-nano", "--image-size", "64", "--latency", "--repeats", "2", "--threads", "1"]
    asked += ["--engine", "pytorch", "--engine", "ncnn"]
    assert profile.main([*asked, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row["engines"]) == ["pytorch", "ncnn"]
    assert (row["threads"], row["repeats"], row["precision"], row["image_size"]) == (1, 2, "fp32", 64)
    assert row["engines"]["ncnn"]["version"].startswith("ncnn ")
    for facts in row["engines"].values():
        assert facts["forward_ms"]["p5"] <= facts["forward_ms"]["median"] <= facts["forward_ms"]["p95"]
    text = format_engines([row])
    assert "others kept" in text
    lines = text.splitlines()
    assert sum("yolox-nano" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--engine", "ncnn"], "goes with --latency"),
        (["--engine", "ncnn", "--latency", "--run", "x"], "studies.deploy --run"),
        (["--engine", "ncnn", "--latency", "--device", "cuda", "--model", "yolox-nano"], "on the CPU here"),
    ],
)
def test_profile_says_what_an_engine_cannot(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        profile.main(given)
    assert message in capsys.readouterr().err


def test_trtexec_is_told_the_shapes_of_a_dynamic_batch() -> None:
    from yolox_core.deploy.export import make_card

    model = replace(MODELS["yolox-nano"], num_classes=1)
    fixed = make_card(build_detector(model, YOLOX_INGREDIENTS), "x", ["a"], 416)
    line = "trtexec --onnx=x.onnx --saveEngine=x.engine --fp16"
    assert export.trtexec(fixed, Path("f/x.onnx")) == line
    shapes = (f"--{which}Shapes=images:{n}x3x416x416" for which, n in (("min", 1), ("opt", 8), ("max", 32)))
    assert export.trtexec(replace(fixed, batch=None), Path("x.onnx")) == " ".join((line, *shapes))


SHARED = Path(__file__).resolve().parents[3] / "shared"
COCO_MINI, RELEASED = SHARED / "coco-mini", SHARED / "weights" / "yolox_nano.pth"


@pytest.mark.slow
@pytest.mark.skipif(
    not (COCO_MINI.exists() and RELEASED.exists()), reason="needs ../shared/coco-mini and ../shared/weights"
)
def test_released_nano_scores_in_every_engine_as_in_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "FILES", [("onnx", "fp32"), ("openvino", "fp32"), ("ncnn", "fp32")])
    given = ["--model", "yolox-nano", "--weights", str(RELEASED), "--data", str(COCO_MINI)]
    assert deploy.main([*given, "--output", str(tmp_path), "--repeats", "1", "--warmup", "0"]) == 0
    rows = json.loads((tmp_path / "deploy.json").read_text())["rows"]
    assert [row["engine"] for row in rows] == ["pytorch", "onnxruntime", "openvino", "ncnn"]
    for row in rows:
        assert row["ap"] == pytest.approx(37.971, abs=0.1)
        assert row["parity"]["boxes"] <= 1e-3
        assert row["parity"]["scores"] <= 1e-3
        assert row["total_ms"]["median"] > 0
    assert (tmp_path / "deploy.md").exists()
    assert (tmp_path / "engines.png").exists()
