"""What MLflow shows of a record: hand-worked records, translated without mlflow."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmap.recipe import flatten
from roadmap.record import RunFolder, append_line, write_json
from roadmap.stages import STAGE_NAMES
from studies.mirror.arms import colour
from studies.mirror.layout import View, read_view
from tests.studies.tracking_standin import epoch_row, write_result, write_start

START = "2026-01-01T00:00:00+00:00"
START_MS = 1767225600000


def record(runs: Path, epochs: int = 0, stage: str = "simota", seed: int = 0) -> RunFolder:
    folder = write_start(runs, stage, seed, time=START)
    for epoch in range(1, epochs + 1):
        append_line(folder.path / "metrics.jsonl", epoch_row(epoch, stage, seconds=2.5))
    return folder


def end(folder: RunFolder, reason: str, time: str = "2026-01-01T00:10:00+00:00", attempt: int = 1) -> None:
    event = {"event": "end", "attempt": attempt, "time": time, "reason": reason, "epoch": 1}
    append_line(folder.path / "attempts.jsonl", event)


def value(view: View, key: str, step: int) -> float:
    (point,) = [p for p in view.points if (p.key, p.step) == (key, step)]
    return point.value


def test_epoch_figures_are_grouped_and_stand_at_their_epoch(tmp_path: Path) -> None:
    view = read_view(record(tmp_path, epochs=4))
    assert view.epoch == 4
    assert value(view, "train/learning_rate", 3) == 0.02 * 0.97
    assert value(view, "speed/images_per_second", 1) == 480 / 2.5
    assert value(view, "val/AP50", 4) == value(view, "val/AP", 4) + 15
    assert {p.key.split("/")[0] for p in view.points} == {"train", "speed", "val"}
    assert not any(p.key.endswith(("epoch", "iteration")) for p in view.points)


def test_undefined_figures_are_left_out(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=4)
    write_result(folder, 4)
    keys = {p.key for p in read_view(folder).points}
    assert "train/loss_l1" not in keys  # null in the row
    assert "val/APs" not in keys
    assert "APs" not in keys


def test_final_figures_are_the_best_epochs_and_have_names_of_their_own(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=5)
    result = write_result(folder, 5)
    result["best"] = {**result["best"], "epoch": 4, "AP": 30.25}
    result["last"] = {**result["last"], "epoch": 5, "AP": 29.5}
    write_json(folder.path / "result.json", result)
    view = read_view(folder)
    assert value(view, "AP", 4) == 30.25
    assert value(view, "AP_last", 5) == 29.5
    assert value(view, "params_m", 5) == 1.56
    assert value(view, "gflops", 5) == 0.80
    assert value(view, "gflops_paper", 5) == 0.81
    assert value(view, "latency_ms", 5) == 14.0
    assert value(view, "full_size_params_m", 5) == 63.724767
    finals = [p for p in view.points if "/" not in p.key]
    assert len(finals) == len({p.key for p in finals})  # one point each


def test_result_without_latency_or_full_size_profile(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=4)
    write_json(
        folder.path / "result.json", {**write_result(folder, 4), "latency": None, "full_size_profile": None}
    )
    keys = {p.key for p in read_view(folder).points}
    assert "AP" in keys
    assert not keys & {"latency_ms", "latency_total_ms", "full_size_params_m"}


def test_timestamps_come_from_the_record(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=3)
    first, again = read_view(folder), read_view(folder)
    assert first.points == again.points
    assert first.start == START_MS
    assert {p.step: p.timestamp for p in first.points} == {
        1: START_MS + 2500,
        2: START_MS + 5000,
        3: START_MS + 7500,
    }


def test_an_epoch_that_was_done_again_counts_once_with_its_latest_row(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=2)
    append_line(folder.path / "metrics.jsonl", {**epoch_row(2, "simota"), "loss": 1.125})
    view = read_view(folder)
    assert value(view, "train/loss", 2) == 1.125
    assert len(view.points) == len({(p.key, p.step) for p in view.points})


def test_system_figures_only_of_epochs_that_the_record_has(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=1)
    for epoch in (1, 2):  # killed between this line and the one in metrics.jsonl
        append_line(
            folder.path / "system.jsonl", {"epoch": epoch, "cpu_utilization_percentage": 50.0 + epoch}
        )
    view = read_view(folder)
    assert [(p.step, p.value) for p in view.points if p.key.startswith("system/")] == [(1, 51.0)]


def test_parameters_are_the_whole_recipe(tmp_path: Path) -> None:
    folder = record(tmp_path, seed=7)
    identity = folder.identity()
    assert identity is not None
    params = read_view(folder).params
    assert params.keys() == flatten(identity["recipe"]).keys() | {"seed"}
    assert params["ingredients.simota"] == "True"
    scale = identity["recipe"]["training"]["augmentation"]["mosaic_scale"]
    assert params["training.augmentation.mosaic_scale"] == f"[{scale[0]}, {scale[1]}]"
    assert params["seed"] == "7"


def test_tags(tmp_path: Path) -> None:
    folder = write_start(tmp_path, "simota", 3, time=START, slurm_job="4711_2", slurm_restart="1")
    tags = read_view(folder).tags
    identity = folder.identity()
    assert identity is not None
    assert tags["study"] == "roadmap"
    assert tags["stage"] == "simota"
    assert tags["stage_number"] == "6"
    assert tags["protocol"] == "demo"
    assert tags["dataset"] == "embedded-shapes"
    assert tags["seed"] == "3"
    assert tags["recipe_hash"] == identity["recipe_hash"]
    assert tags["commit"] == "a" * 40
    assert tags["attempt"] == "1"
    assert tags["slurm_job"] == "4711_2"
    assert tags["slurm_restart"] == "1"
    assert tags["command"] == "python -m studies.roadmap --stage simota"
    assert tags["mlflow.source.name"] == "python -m studies.roadmap"
    assert "| training.epochs | 300 | 24 |" in tags["mlflow.note.content"]


def test_no_tag_for_what_is_not_known(tmp_path: Path) -> None:
    folder = record(tmp_path)
    write_json(folder.path / "environment.json", {"commit": None, "hardware": {}})
    tags = read_view(folder).tags
    assert not tags.keys() & {"slurm_job", "commit", "device", "mlflow.source.name"}


def test_the_source_is_what_was_started_not_the_end_of_a_path(tmp_path: Path) -> None:
    folder = record(tmp_path)
    command = ["python", "-m", "studies.run", "/data/runs/roadmap/simota-s0-1a2b3c4d", "--device", "cuda"]
    write_json(folder.path / "environment.json", {"command": command})
    assert read_view(folder).tags["mlflow.source.name"] == "python -m studies.run simota-s0-1a2b3c4d"


def test_records_with_a_password_of_an_earlier_version_are_shown_without(tmp_path: Path) -> None:
    folder = record(tmp_path)
    text = '{"command": ["python", "--tracking", "http://me:hunter2@tracking:5000"]}'
    (folder.path / "environment.json").write_text(text)
    assert read_view(folder).tags["command"] == "python --tracking http://tracking:5000"


def test_the_order_and_the_colour_of_an_arm_are_the_studys(tmp_path: Path) -> None:
    tags = [read_view(record(tmp_path, stage=stage)).tags for stage in STAGE_NAMES]
    assert [of["stage_number"] for of in tags] == list("1234567")
    assert len({of["mlflow.runColor"] for of in tags}) == 7


def test_many_arms_have_colours_that_differ() -> None:
    def distance(one: str, other: str) -> int:
        parts = (1, 3, 5)
        return max(abs(int(one[i : i + 2], 16) - int(other[i : i + 2], 16)) for i in parts)

    colours = [colour(place) for place in range(1, 33)]
    assert min(distance(a, b) for a, b in combinations(colours, 2)) >= 27


def test_without_study_json_there_is_no_order(tmp_path: Path) -> None:
    folder = record(tmp_path)
    (folder.path.parent / "study.json").unlink()
    view = read_view(folder)
    assert not view.tags.keys() & {"stage_number", "mlflow.runColor"}
    assert view.arm_note == ""


def test_an_arm_is_described(tmp_path: Path) -> None:
    note = read_view(record(tmp_path, stage="simota")).arm_tags()["mlflow.note.content"]
    assert note.startswith("**+SimOTA**: positives by cost, a dynamic number per object")
    assert "Compared with **+multi positives** (`multi-positives`); changes `ingredients.simota`." in note
    assert "The paper (Table 2): AP 47.3, gain +2.3, 63.72 M parameters, 185.3 GFLOPs" in note
    assert "demo protocol on embedded-shapes" in note


def test_a_run_that_was_told_to_stop_for_good_says_why(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=2)
    assert "stopped" not in read_view(folder).tags
    why = "AP 20.1 at epoch 8 is below the median"
    write_json(folder.path / "stop.json", {"kind": "pruned", "message": why, "epoch": 8, "time": START})
    view = read_view(folder)
    assert (view.status, view.tags["stopped"]) == ("KILLED", why)


def test_status_of_a_run_without_an_end(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=2)
    assert read_view(folder).status == "KILLED"  # nobody holds its lock
    assert read_view(folder, alive=True).status == "RUNNING"
    with folder.lock():
        assert read_view(folder).status == "RUNNING"
        assert read_view(folder, alive=False).status == "KILLED"


def test_status_of_a_run_that_ended(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=4)
    end(folder, "signal")
    assert read_view(folder).status == "KILLED"
    write_result(folder, 4, finished="2026-01-01T00:20:00+00:00")
    finished = read_view(folder)
    assert finished.status == "FINISHED"
    assert finished.end == START_MS + 20 * 60_000


def test_status_of_a_failure(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=1)
    assert read_view(folder, alive=False, failed=True).status == "FAILED"  # before failure.json is written
    write_json(folder.path / "failure.json", {"kind": "error", "message": "x", "attempt": 1})
    assert read_view(folder).status == "FAILED"


def test_a_failure_of_an_earlier_attempt_does_not_count(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=1)
    write_json(folder.path / "failure.json", {"kind": "error", "message": "x", "attempt": 1})
    end(folder, "error")
    write_start(tmp_path, "simota", 0, time="2026-01-01T01:00:00+00:00")
    assert read_view(folder).status == "KILLED"


def test_a_killed_run_ends_when_the_record_last_heard_of_it(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=4)
    assert read_view(folder).end == START_MS + 10_000
    end(folder, "signal", time="2026-01-01T00:10:00+00:00")
    assert read_view(folder).end == START_MS + 10 * 60_000
    assert read_view(folder, alive=True).end is None


def test_another_training_of_the_same_recipe_is_another_record(tmp_path: Path) -> None:
    here, there = record(tmp_path / "a"), record(tmp_path / "b")
    assert read_view(here).run == read_view(there).run
    assert read_view(here).record == read_view(there).record  # a copy
    (there.path / "attempts.jsonl").unlink()
    write_start(tmp_path / "b", "simota", 0, time="2026-01-02T00:00:00+00:00")
    assert read_view(here).record != read_view(there).record


def test_a_resumed_run_is_the_same_record(tmp_path: Path) -> None:
    folder = record(tmp_path)
    before = read_view(folder)
    write_start(tmp_path, "simota", 0, time="2026-01-03T00:00:00+00:00")
    after = read_view(folder)
    assert after.record == before.record
    assert after.start == before.start
    assert after.tags["attempt"] == "2"


def test_the_digest_changes_with_what_is_mirrored_and_with_nothing_else(tmp_path: Path) -> None:
    folder = record(tmp_path, epochs=4)
    write_result(folder, 4, finished=START)
    before = read_view(folder).digest
    end(folder, "finished")  # the runner writes this after the tracker is closed
    (folder.path / "log.txt").write_text("something")
    assert read_view(folder).digest == before
    append_line(folder.path / "metrics.jsonl", epoch_row(5))
    assert read_view(folder).digest != before


def test_nothing_to_mirror(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "roadmap" / "simota-s0-00000000")
    folder.path.mkdir(parents=True)
    with pytest.raises(ValueError, match="nothing to mirror"):
        read_view(folder)


@settings(max_examples=30, deadline=None)
@given(
    epochs=st.lists(st.integers(1, 12), max_size=20),
    figures=st.dictionaries(
        st.sampled_from(["loss", "AP", "seconds", "memory_mb", "unknown"]),
        st.none() | st.floats(0, 1e6, allow_nan=False),
    ),
)
def test_no_key_twice_at_a_step_and_time_never_goes_back(
    tmp_path_factory: pytest.TempPathFactory, epochs: list[int], figures: dict[str, float | None]
) -> None:
    folder = record(tmp_path_factory.mktemp("runs"))
    for epoch in epochs:
        append_line(folder.path / "metrics.jsonl", {"epoch": epoch, "iteration": epoch, **figures})
    points = read_view(folder).points
    assert len(points) == len({(p.key, p.step) for p in points})
    assert {p.step for p in points} <= set(epochs)
    by_step = sorted(points, key=lambda p: p.step)
    assert [p.timestamp for p in by_step] == sorted(p.timestamp for p in by_step)
