"""Reports that several tests read: built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.build import Report, build_report
from tests.reports.factory import COCO, write_run, write_study


@pytest.fixture(scope="session")
def demo_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Seven stages, two seeds, on the embedded dataset; one run unfinished, one record broken."""
    runs = tmp_path_factory.mktemp("demo") / "runs"
    write_study(runs, seeds=2)
    write_run(runs, "simota", seed=7, state="interrupted")
    broken = write_run(runs, "simota", seed=8)
    (broken / "result.json").write_text('{"schema": 1, "stage": ')
    return build_report(runs)


@pytest.fixture(scope="session")
def paper_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Seven stages, three seeds, as if on COCO under the paper's protocol; and one demo run."""
    runs = tmp_path_factory.mktemp("paper") / "runs"
    write_study(runs, seeds=3, protocol="paper", dataset=COCO)
    write_run(runs, "simota")
    return build_report(runs)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty runs folder."""
    return tmp_path / "runs"
