"""Reading run records: what counts as a finished run, and what happens to everything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.records.collect import NoFinishedRunsError, collect
from tests.reports.factory import write_run


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_finished_run_is_read_whole(runs: Path) -> None:
    write_run(runs, "simota", seed=3, ap=36.5, last=36.0, latency=20.0)
    (run,) = collect(runs, "roadmap").runs
    assert (run.arm, run.seed, run.protocol) == ("simota", 3, "demo")
    assert (run.best["AP"], run.last["AP"]) == (36.5, 36.0)
    assert run.recipe["training.epochs"] == 24
    assert run.latency is not None
    assert run.latency["forward_ms"]["median"] == 20.0
    assert [e.epoch for e in run.epochs] == list(range(1, 25))
    assert [e.epoch for e in run.epochs if e.ap is not None] == [4, 8, 12, 16, 20, 24]
    first, last = run.epochs[0].loss, run.epochs[-1].loss
    assert first is not None
    assert last is not None
    assert first > last


def test_undefined_figures_stay_undefined(runs: Path) -> None:
    write_run(runs, "simota")
    (run,) = collect(runs, "roadmap").runs
    assert run.best["APl"] is None


def test_unfinished_and_failed_runs_are_listed_with_their_progress(runs: Path) -> None:
    write_run(runs, "baseline")
    write_run(runs, "simota", state="interrupted")
    write_run(runs, "nms-free", state="failed")
    found = collect(runs, "roadmap")
    assert [r.arm for r in found.runs] == ["baseline"]
    by_stage = {u.arm: u for u in found.unfinished}
    assert by_stage["simota"].state == "interrupted"
    assert (by_stage["simota"].epoch, by_stage["simota"].epochs) == (12, 24)
    assert by_stage["nms-free"].state == "failed"
    assert by_stage["nms-free"].reason == "non-finite-loss: loss is nan"


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn result": (
        lambda p: (p / "result.json").write_text('{"schema": 1,'),
        "result.json is not valid JSON",
    ),
    "torn recipe": (lambda p: (p / "recipe.json").write_text("["), "recipe.json is not valid JSON"),
    "a list": (
        lambda p: (p / "result.json").write_text("[1]"),
        "result.json is not a JSON object",
    ),
    "not text": (lambda p: (p / "result.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
    "no AP": (lambda p: edit(p / "result.json", lambda d: d["best"].pop("AP")), "best.AP is missing"),
    "AP a word": (
        lambda p: edit(p / "result.json", lambda d: d["best"].update(AP="high")),
        "best.AP must be a number, not 'high'",
    ),
    "AP nan": (
        lambda p: edit(p / "result.json", lambda d: d["last"].update(AP=float("nan"))),
        "last.AP must be a finite number, not nan",
    ),
    "no params": (lambda p: edit(p / "result.json", lambda d: d["profile"].pop("params")), "profile.params"),
    "no hardware": (lambda p: edit(p / "result.json", lambda d: d.pop("hardware")), "hardware is missing"),
    "impossible AP": (
        lambda p: edit(p / "result.json", lambda d: d["best"].update(AP=9999)),
        "best.AP must be at most 100, not 9999",
    ),
    "no latency": (
        lambda p: edit(p / "result.json", lambda d: d["latency"]["forward_ms"].update(median=0)),
        "latency.forward_ms.median must be greater than 0, not 0",
    ),
    "recipe edited": (
        lambda p: edit(p / "recipe.json", lambda d: d["recipe"]["training"].update(epochs=23)),
        "the recipe in recipe.json has the hash",
    ),
    "unknown key": (
        lambda p: edit(p / "result.json", lambda d: d["training"].update(epoch=1)),
        "unknown key 'training.epoch'; did you mean training.epochs?",
    ),
    "newer schema": (lambda p: edit(p / "result.json", lambda d: d.update(schema=9)), "newer than 2"),
    "other recipe": (
        lambda p: edit(p / "recipe.json", lambda d: d.update(recipe_hash="00000000")),
        "result.json says recipe_hash",
    ),
    "torn metrics": (
        lambda p: (p / "metrics.jsonl").write_text('{"ep\n{"epoch": 2}\n'),
        "metrics.jsonl, line 1",
    ),
    "metrics without epoch": (lambda p: (p / "metrics.jsonl").write_text('{"loss": 2}\n'), "epoch"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_record_is_skipped_counted_and_named(runs: Path, name: str) -> None:
    breakage, reason = BREAKAGES[name]
    write_run(runs, "baseline")
    broken = write_run(runs, "simota")
    breakage(broken)
    found = collect(runs, "roadmap")
    assert [r.arm for r in found.runs] == ["baseline"]
    assert [s.run for s in found.skipped] == [broken.name]
    assert reason in found.skipped[0].reason


def test_a_copied_run_counts_once(runs: Path) -> None:
    original = write_run(runs, "simota")
    shutil.copytree(original, original.with_name("zz-copy"))
    found = collect(runs, "roadmap")
    assert len(found.runs) == 1
    assert len(found.skipped) == 1
    assert "a copy of" in found.skipped[0].reason


def test_an_epoch_logged_twice_counts_once_with_its_later_values(runs: Path) -> None:
    path = write_run(runs, "simota") / "metrics.jsonl"
    lines = path.read_text().splitlines()
    again = {**json.loads(lines[7]), "AP": 1.25}
    path.write_text("\n".join([*lines[:8], json.dumps(again), *lines[8:]]) + "\n")
    (run,) = collect(runs, "roadmap").runs
    assert len(run.epochs) == 24
    assert run.epochs[7].ap == 1.25


def test_a_torn_last_line_of_metrics_is_dropped(runs: Path) -> None:
    path = write_run(runs, "simota") / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 25, "lo')
    (run,) = collect(runs, "roadmap").runs
    assert len(run.epochs) == 24


def test_only_the_studys_runs_are_read(runs: Path) -> None:
    write_run(runs, "baseline")
    write_run(runs, "simota", study="other")
    assert [r.arm for r in collect(runs, "other").runs] == ["simota"]


def test_nothing_at_all_says_how_to_start(runs: Path) -> None:
    with pytest.raises(NoFinishedRunsError, match=r"no runs of study 'roadmap'.*python -m studies\.roadmap"):
        collect(runs, "roadmap")


def test_another_studys_runs_are_offered(runs: Path) -> None:
    write_run(runs, "baseline", study="head")
    with pytest.raises(NoFinishedRunsError, match="there are runs of: head"):
        collect(runs, "roadmap")


def test_nothing_finished_says_what_was_found(runs: Path) -> None:
    name = write_run(runs, "simota", state="interrupted").name
    with pytest.raises(NoFinishedRunsError, match=rf"no finished run.*{name} \(interrupted, epoch 12\)"):
        collect(runs, "roadmap")
