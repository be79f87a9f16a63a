"""python -m studies.streaming, on a small video with an untrained detector, and on made-up records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roadmap.datasets import EMBEDDED
from roadmap.recipe import DatasetConfig, Run
from roadmap.record import RunFolder, Spread, write_json
from roadmap.streaming import NAME, VARIANTS, read_streaming
from roadmap.typed import to_json
from studies.attempt.played import Subject, find_subjects, with_latencies
from studies.attempt.streams import WARMUP, Playing, judge, load_detector, play_to
from studies.streaming import _parser, _timed_on, main, make_record
from tests.roadmap.records import finish, identity_of, result_of
from tests.studies.small_runs import small_run
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, ModelConfig
from yolox_core.data.moving_shapes import ANNOTATIONS, VideoSpec, ensure_moving_shapes
from yolox_core.deploy.weights import save_official
from yolox_core.evaluation.collect import coco_metrics
from yolox_core.evaluation.detections import Detections
from yolox_core.streaming.stream import Latencies, simulate
from yolox_core.streaming.video import Video, read_video

SPEC = VideoSpec(sequences=2, frames=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_moving_shapes(tmp_path_factory.mktemp("video"), SPEC)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "nano.pth"
    save_official(build_detector(replace(MODELS["yolox-nano"], num_classes=6), YOLOX_INGREDIENTS), path)
    return path


def arguments(folder: Path, weights: Path, out: Path, *more: str) -> list[str]:
    given = ["--weights", f"yolox-nano={weights}", "--annotations", str(folder / ANNOTATIONS)]
    given += ["--images", str(folder), "--image-size", "64", "--device", "cpu", "--confidence", "0"]
    return [*given, "--out", str(out), *more]


@pytest.fixture(scope="module")
def played(folder: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with latencies of 50 ms."""
    out = tmp_path_factory.mktemp("played")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WARMUP, "cpu", 1)
        assert main(arguments(folder, weights, out, "--latency", "50", "--sweep", "15,60")) == 0
    return out


def test_every_way_of_playing_is_on_record_with_its_conditions(played: Path) -> None:
    record = read_streaming(played / NAME)
    (arm,) = record.arms
    assert [(s.fps, *s.variant) for s in arm.streams] == [
        (fps, *variant) for fps in (15, 30, 60) for variant in VARIANTS
    ]
    assert record.conditions.swept == (15, 30, 60)
    assert (record.video.frames, record.video.embedded, record.video.name) == (16, False, "val.json")
    assert (arm.source, arm.latency_ms.median, arm.latency_ms.p95) == ("constant", 50, 50)
    plain = arm.stream(30, (False, False))
    assert plain is not None
    # 1.5 frames: outputs at 1.5, 3, 4.5, 6, 7.5 frames; frames 0 and 1 of each video come too early.
    assert (plain.processed, plain.missed, plain.in_time) == (10, 4, 0)
    dynamic = arm.stream(30, (True, False))
    assert dynamic is not None
    assert dynamic.processed == 8  # 1.5, then 3.5, 5.5, 7.5
    assert (played / "streaming.png").exists()


def test_tables_are_made_again_from_the_record(
    played: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--record", str(played / NAME), "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((played / NAME).read_text())
    assert (tmp_path / "streaming.md").read_bytes() == (played / "streaming.md").read_bytes()
    assert not (tmp_path / NAME).exists()


def test_without_latency_every_plain_stream_has_the_figures_without_a_stream(
    folder: Path, weights: Path, tmp_path: Path
) -> None:
    """The detector is untrained, so its detections are mixed with the truth to have an AP worth comparing."""
    video = read_video(folder / ANNOTATIONS, folder)
    found = noisy_truth(video)
    offline = coco_metrics(video.annotation_file, found)
    assert offline["AP"] is not None
    assert 20 < offline["AP"] < 90
    nothing = Latencies(np.zeros(1))
    for dynamic in (False, True):
        outputs = [simulate(len(s), 30, nothing, np.random.default_rng(0), dynamic) for s in video.sequences]
        stream = judge(found, video, outputs, 30, dynamic, forecasting=False)
        assert stream.in_time == stream.frames == stream.processed == 16
        for name, value in stream.figures.items():
            expected = offline[name]
            assert value == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_weights_that_do_not_fit_are_refused_before_anything_is_played(
    folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.attempt.streams.play_to", lambda *_: pytest.fail("played"))
    given = arguments(folder, weights, tmp_path, "--weights", f"yolox-tiny={weights}")
    with pytest.raises(ValueError, match=r"nano\.pth does not fill yolox-tiny"):
        make_record(_parser().parse_args(given))


def small_subject(classes: int, folder: Path) -> Subject:
    model = ModelConfig(depth=0.1, width=0.0625, num_classes=classes)
    torch.manual_seed(0)
    weights = folder / f"{classes}.pth"
    save_official(build_detector(model, YOLOX_INGREDIENTS), weights)
    return Subject("small", "small", "", model, YOLOX_INGREDIENTS, weights, 64)


def test_in_real_time_it_is_the_wall_clock_that_counts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is processed is the machine's business; what is on record of it is not."""
    monkeypatch.setitem(WARMUP, "cpu", 1)
    playing = Playing(40.0, (40.0,), 0, "realtime", 0.0, 0.01, 0.65, torch.device("cpu"))
    arm, dtype = play_to(small_subject(6, tmp_path), read_video(folder / ANNOTATIONS, folder), playing)
    assert (arm.source, arm.latency_ms.samples, dtype) == ("realtime", 16, "float32")
    assert [s.variant for s in arm.streams] == list(VARIANTS)
    assert all(0 <= s.processed <= s.frames == 16 for s in arm.streams)
    assert all(s.missed >= 2 for s in arm.streams)  # nothing can be known of a first frame when it comes


def test_a_detector_of_cocos_classes_is_judged_by_the_videos_mapping(folder: Path, tmp_path: Path) -> None:
    data = json.loads((folder / ANNOTATIONS).read_text())
    (tmp_path / "val.json").write_text(json.dumps(data | {"coco_mapping": [6, 2, 0, 6, 5, 1, 3, 4, 6]}))
    video = read_video(tmp_path / "val.json", folder)
    subject = small_subject(9, tmp_path)
    _, categories = load_detector(subject, video)
    assert categories.tolist() == [-1, 2, 0, -1, 5, 1, 3, 4, -1]
    with pytest.raises(ValueError, match=r"(?s)with 6 classes: .*with 80 classes"):
        load_detector(subject, read_video(folder / ANNOTATIONS, folder))


def noisy_truth(video: Video) -> Detections:
    data = json.loads(video.annotation_file.read_text())
    rng = np.random.default_rng(0)
    objects = [a for a in data["annotations"] if rng.random() < 0.9]
    boxes = np.array([a["bbox"] for a in objects]) + rng.normal(0, 1.5, (len(objects), 4))
    ids = np.array([(a["image_id"], a["category_id"]) for a in objects], np.int64)
    return Detections(ids[:, 0], ids[:, 1], boxes, rng.random(len(objects)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "nothing to play to: give --runs"),
        (["--weights", "yolox-nano=absent.pth"], "absent.pth is missing"),
        (["--runs", "empty"], "no finished run there, of 0"),
        (["--weights", "yolox-nano=w", "--weights", "yolox-nano=w"], "yolox-nano is named twice"),
        (
            ["--weights", "yolox-nano=w", "--latency", "somewhere.json"],
            "somewhere.json: missing, or not what",
        ),
        (["--weights", "yolox-nano=w", "--image-size", "100"], "a positive multiple of 32, not 100"),
        (["--weights", "yolox-nano=w", "--latency", "record"], "has no latency in its run's record"),
        (["--weights", "yolox-nano=w", "--annotations", "val.json"], "--annotations val.json is missing"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "w").touch()
    assert main(more) == 1
    assert message in capsys.readouterr().err


def finished(root: Path, fingerprint: str, seeds: tuple[int, ...] = (0,)) -> list[Run]:
    """Finished runs with weights, of a detector of the embedded dataset's classes."""
    runs = []
    for seed in seeds:
        plain = small_run(seed)
        data = DatasetConfig("embedded-shapes", fingerprint, 6, 8, 4)
        run = Run(plain.study, plain.arm, seed, replace(plain.recipe, dataset=data))
        folder = RunFolder(root / run.study / run.name)
        folder.checkpoints.mkdir(parents=True)
        write_json(folder.path / "recipe.json", identity_of(run))
        (folder.checkpoints / "best.pt").touch()
        latency = result_of(run).latency
        assert latency is not None
        finish(folder, run, latency=replace(latency, image_size=run.recipe.training.image_size))
        runs.append(run)
    return runs


def test_finished_runs_are_found_below_any_folder_and_told_apart_by_their_seeds(tmp_path: Path) -> None:
    runs = finished(tmp_path, EMBEDDED.fingerprint, seeds=(0, 1))
    study = tmp_path / runs[0].study
    for root in (tmp_path, study):
        subjects = find_subjects(_parser().parse_args(["--runs", str(root)]))
        assert [s.name for s in subjects] == ["small, seed 0", "small, seed 1"]
        assert [s.run for s in subjects] == [run.name for run in runs]
    (one,) = find_subjects(_parser().parse_args(["--runs", str(study / runs[1].name)]))
    assert one.name == "small"
    assert one.image_size == runs[1].recipe.training.image_size
    assert with_latencies([one], None)[0].latency is not None


def test_runs_on_other_data_are_not_played_the_embedded_video(tmp_path: Path) -> None:
    finished(tmp_path, "f" * 64)
    with pytest.raises(ValueError, match="the embedded video shows the embedded dataset's shapes"):
        find_subjects(_parser().parse_args(["--runs", str(tmp_path)]))
    found = find_subjects(_parser().parse_args(["--runs", str(tmp_path), "--annotations", "val.json"]))
    assert len(found) == 1


def test_latencies_of_a_table_go_by_name(tmp_path: Path) -> None:
    finished(tmp_path, EMBEDDED.fingerprint)
    subjects = find_subjects(_parser().parse_args(["--runs", str(tmp_path)]))
    assert subjects[0].latency is not None
    other = replace(subjects[0].latency, total_ms=Spread(30.0, 31.0, 29.0, 40.0))
    table = tmp_path / "latency.json"
    table.write_text(json.dumps([{"name": "small", "latency": to_json(other)}]))
    (found,) = with_latencies(subjects, table)
    assert found.latency == other
    table.write_text(json.dumps([{"name": "large", "latency": to_json(other)}]))
    with pytest.raises(ValueError, match="small has no latency in"):
        with_latencies(subjects, table)
    table.write_text(json.dumps([{"name": "small", "latency": to_json(replace(other, image_size=96))}]))
    with pytest.raises(ValueError, match=r"small was timed at 96 px .* played to at 64 px"):
        with_latencies(subjects, table)


def test_what_latencies_of_records_were_measured_on_is_told_for_all(tmp_path: Path) -> None:
    latency = result_of(finished(tmp_path, EMBEDDED.fingerprint)[0]).latency
    assert latency is not None
    other = replace(latency, device="cuda", dtype="float16", name="a GPU", threads=4)
    assert _timed_on([latency, other, other]) == {
        "device": "cpu; cuda", "hardware": "a GPU; unknown", "dtype": "float16; float32", "threads": 4
    }  # fmt: skip
