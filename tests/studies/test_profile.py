"""The profile command: its answers, its manners."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from roadmap.stages import STAGE_NAMES
from studies import profile
from studies.profile import find_subjects, published_model
from yolox_core.config import MODELS

FIELDS = {"name", "image_size", "params", "macs", "gflops", "gflops_paper"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert profile.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_every_stage_and_model_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "--json"))
    assert [row["name"] for row in rows] == [*STAGE_NAMES, *MODELS]
    for row in rows:
        assert set(row) >= FIELDS
        assert row["gflops"] == 2 * row["macs"] / 1e9
        published = row["published"]
        # within half a unit of the paper's last digit (M: one digit, L is cut instead of rounded)
        assert row["params"] / 1e6 == pytest.approx(published["params_m"], abs=0.051)
        assert row["gflops_paper"] == pytest.approx(published["gflops"], abs=0.052)


def test_names_are_asked_for_in_order_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "yolox-nano", "--stage", "simota", "--stage", "baseline", "--stage", "simota"]
    rows = json.loads(run(capsys, *arguments, "--json"))
    assert [row["name"] for row in rows] == ["simota", "baseline", "yolox-nano"]
    assert [row["image_size"] for row in rows] == [640, 640, 416]


def test_another_size_is_not_compared_with_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json.loads(run(capsys, "--model", "yolox-nano", "--image-size", "640", "--json"))
    assert row["published"] is None
    assert row["macs"] * 416**2 == 522553408 * 640**2


def test_the_table_names_every_convention(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "--stage", "nms-free")
    header, _, row, *_ = text.splitlines()
    for column in ("params (M)", "multiply-adds (G)", "2 × multiply-adds (G)", "GFLOPs (paper's way)"):
        assert column in header
    for figure in ("67.267554", "67.27", "102.2507", "204.5014", "205.1209", "205.1"):
        assert f" {figure}" in row


def test_latency_with_its_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--model",
        "yolox-nano",
        "--image-size",
        "64",
        "--latency",
        "--device",
        "cpu",
        "--repeats",
        "2",
    ]
    (row,) = json.loads(run(capsys, *arguments, "--json"))
    latency = row["latency"]
    assert latency["repeats"] == 2
    assert latency["total_ms"]["median"] > 0
    text = run(capsys, *arguments)
    assert "forward (ms)" in text
    assert "64×64 images on cpu (float32" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "yolov9"], "baseline"),
        (["--model", "yolov9"], "yolox-nano"),
        (["--image-size", "100"], "multiple of 32"),
        (["--image-size", "0"], "multiple of 32"),
        (["--repeats", "0"], "at least 1"),
    ],
)
def test_mistakes_are_explained(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        profile.main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_missing_gpu_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        profile.main(["--model", "yolox-nano", "--latency", "--device", "cuda"])
    assert "use --device cpu" in capsys.readouterr().err


def test_the_paper_has_figures_for_every_model() -> None:
    assert all(published_model(name)["params_m"] for name in MODELS)
    with pytest.raises(ValueError, match="prints nothing"):
        published_model("yolox-huge")


def test_subjects_of_a_stage_are_whole() -> None:
    (subject,) = find_subjects(["simota"], [], None)
    assert subject.model == MODELS["yolox-darknet53"]
    assert subject.ingredients.simota
    assert not subject.ingredients.nms_free


def test_help_answers_at_once_and_without_torch() -> None:
    code = (
        "import sys\n"
        "from studies import profile\n"
        "try:\n"
        "    profile.main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert not {'torch', 'cv2', 'mlflow', 'numpy'} & set(sys.modules)\n"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
    assert "--latency" in done.stdout
    assert min(times) < 1


def test_as_a_module_stdout_is_json_alone() -> None:
    command = [sys.executable, "-m", "studies.profile", "--model", "yolox-nano", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)
    assert row["params"] == 912159
    assert done.stderr == ""
