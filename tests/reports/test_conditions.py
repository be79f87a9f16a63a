"""What happened to the runs behind a table is said in its caption: mixed code, dropped annotations, load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.build import build_report
from reports.figures import catalogue
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.caption import short_caption, table_caption
from reports.tables.steps import Table2, build_table2
from tests.reports.factory import write_run


def table_of(runs: Path) -> Table2:
    return build_table2(group_runs("roadmap", collect(runs, "roadmap").runs)[0])


def caption_of(runs: Path) -> str:
    return " ".join(table_caption(table_of(runs)).sentences)


def edit(path: Path, **changes: Any) -> None:
    """Write values into a JSON file: ``latency__load_average=2.0`` into its ``latency``."""
    data = json.loads(path.read_text())
    for name, value in changes.items():
        *parents, last = name.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(data))


def test_a_run_of_more_than_one_commit_is_named_in_every_caption(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_ENTRIES", catalogue._ENTRIES[:1])  # one figure stands for all
    folder = write_run(runs, "simota")
    write_run(runs, "baseline")
    mixed = {"field": "code", "paper": "one commit", "here": "commits 1234567, 89abcde"}
    edit(folder / "result.json", deviations=[mixed])
    said = f"Trained by more than one version of the code: {folder.name} (commits 1234567, 89abcde)."
    table = table_of(runs)
    assert said in table_caption(table).sentences
    assert short_caption(table.group).endswith(said)
    assert any("code commits 1234567, 89abcde" in text for text in table_caption(table).below)
    report = build_report(runs)
    for name in ("report.md", "report.html"):
        text = (report.out / name).read_text().replace("\\", "")
        assert text.count("commits 1234567, 89abcde") >= 3  # table, figure, deviations


def test_runs_of_one_commit_are_not_mentioned(runs: Path) -> None:
    write_run(runs, "simota")
    assert "version of the code" not in caption_of(runs)
    assert "version of the code" not in short_caption(table_of(runs).group)


def test_dropped_annotations_are_counted_by_reason_and_split(runs: Path) -> None:
    folder = write_run(runs, "simota")
    counts = {"crowd": 10, "outside": 2, "not_finite": 0}
    edit(folder / "environment.json", dataset__train={"dropped": counts, "skipped": []})
    edit(folder / "environment.json", dataset__val={"dropped": {"unknown_image": 1}, "skipped": []})
    assert (
        "Annotations not used: 12 of the training split (crowd 10, outside 2), 1 of the validation split "
        "(unknown image 1)."
    ) in caption_of(runs)


def test_where_every_annotation_was_used_nothing_is_said(runs: Path) -> None:
    folder = write_run(runs, "simota")
    edit(folder / "environment.json", dataset__train={"dropped": {"crowd": 0}})
    assert "not used" not in caption_of(runs)


@pytest.mark.parametrize(
    ("others", "load", "said"),
    [
        (0.2, 9.0, ""),  # what others did meanwhile is known: the minute before does not matter
        (0.25, 0.0, "others used up to 0.2 cores"),
        (1.9, 0.0, "others used up to 1.9 cores"),
        (None, None, ""),
        (None, 2.9, ""),  # of an earlier version; the machine has two cores
        (None, 3.0, "load average up to 3.0"),
    ],
)
def test_latency_of_a_busy_machine_says_so(
    runs: Path, others: float | None, load: float | None, said: str
) -> None:
    folder = write_run(runs, "simota")
    write_run(runs, "baseline")
    edit(folder / "result.json", latency__load_average=load, latency__others_load=others)
    text = caption_of(runs)
    assert ("busy with other work while 1 of 2 latencies were measured" in text) == bool(said)
    assert said in text


def test_the_busiest_of_several_runs_is_named(runs: Path) -> None:
    for seed, others in enumerate((0.3, 11.2, 9.0)):
        edit(write_run(runs, "simota", seed) / "result.json", latency__others_load=others)
    assert "3 of 3 latencies were measured (others used up to 11.2 cores)" in caption_of(runs)


def test_a_best_epoch_below_the_last_is_a_warning(runs: Path) -> None:
    odd = write_run(runs, "simota", ap=0.0, last=0.5)
    write_run(runs, "baseline", ap=1.0, last=1.0)
    (note,) = table_of(runs).notes
    assert note.startswith("the best epoch has less AP than the last")
    assert note.endswith(f": {odd.name}")
