"""Whatever a record holds, a report is built from the others or says why not; and reading stays cheap."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.build import build_report
from tests.reports.factory import write_run, write_study

VALUES: list[Any] = [None, True, 0, -1, 1e308, "", "x", [], [1], {}, {"a": 1}, "ü" * 3]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every value inside a JSON document."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += leaves(item, (*path, key))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_single_strange_value_stops_a_report(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        runs = Path(name)
        write_run(runs, "baseline")
        strange = write_run(runs, "decoupled-head")
        file = strange / data.draw(st.sampled_from(["result.json", "recipe.json", "environment.json"]))
        content = json.loads(file.read_text())
        path = data.draw(st.sampled_from(leaves(content)))
        where = content
        for key in path[:-1]:
            where = where[key]
        if data.draw(st.booleans()):
            where[path[-1]] = data.draw(st.sampled_from(VALUES))
        elif isinstance(where, dict):
            del where[path[-1]]
        file.write_text(json.dumps(content))
        report = build_report(runs, figures=False)
        shown = {run for g in report.data["groups"] for row in g["rows"] for run in row["runs"].split()}
        left_out = {item["run"] for item in report.data["left_out"]}
        assert any(run.startswith("baseline") for run in shown)
        assert strange.name in left_out or len(shown) >= 1


def test_every_record_file_is_read_once(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(runs, seeds=10)
    reads: Counter[str] = Counter()
    for method in ("read_bytes", "read_text", "open"):
        original = getattr(Path, method)

        def counted(self: Path, *args: Any, _original: Any = original, _name: str = method, **kw: Any) -> Any:
            if self.name in ("result.json", "recipe.json", "environment.json", "metrics.jsonl"):
                reads[f"{_name} {self.parent.name}/{self.name}"] += 1
            return _original(self, *args, **kw)

        monkeypatch.setattr(Path, method, counted)
    build_report(runs, figures=False)
    assert len({key.split(" ")[1] for key in reads}) == 70 * 4
    assert max(reads.values()) == 1


def test_work_grows_with_the_records_not_with_their_square(runs: Path, tmp_path: Path) -> None:
    """Counted in calls, which no busy machine changes. 1,000 records: python -m benchmarks.reports."""
    few, many = tmp_path / "few", tmp_path / "many"
    write_study(few, seeds=5)
    write_study(many, seeds=20)
    build_report(few, figures=False)  # caches and imports
    calls = [count_calls(folder) for folder in (few, many)]
    assert calls[1] < 5 * calls[0]


def count_calls(folder: Path) -> int:
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.runcall(build_report, folder, figures=False)
    stats: Any = pstats.Stats(profile)
    return int(stats.total_calls)
