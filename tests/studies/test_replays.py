"""The studies of Table 1 and of Tables 3 and 4 from their command line to the end: trained here, reported.

One run of each is shared by everything that is said about it; it is as short as a training can be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roadmap.study import Study
from studies.command.cli import main
from studies.heads import STUDY as HEADS
from studies.scaling import STUDY as SCALING
from tests.studies.small_runs import make_data

SHORT = (
    "training.epochs=1", "training.warmup_epochs=0", "training.closing_epochs=0",
    "training.multiscale=[64,64]", "training.batch_size=2",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A study that ran to its end."""

    status: int
    out: Path
    data: dict[str, Any]

    def text(self, name: str) -> str:
        """A file of its only group."""
        (path,) = self.out.glob(f"*/{name}")
        return path.read_text(encoding="utf-8")


def carry_out(study: Study, folder: Path, *arms: str) -> Ended:
    """Under the smoke protocol on eight images."""
    runs, data = folder / "runs", make_data(folder / "data")
    words = [word for setting in SHORT for word in ("--set", setting)]
    words += [word for arm in arms for word in ("--only", arm)]
    where = [
        "--data",
        str(data),
        "--protocol",
        "smoke",
        "--launcher",
        "local",
        "--tracking",
        "off",
        "--device",
        "cpu",
    ]
    status = main(study, [*where, *words, "--workers", "0", "--runs", str(runs)])
    out = runs / study.name / "report"
    return Ended(status, out, json.loads((out / "report.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return carry_out(HEADS, tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return carry_out(SCALING, tmp_path_factory.mktemp("scaling"), "yolox-nano")


@pytest.mark.xdist_group("heads")
def test_heads_ends_with_table_1_and_figure_3(heads: Ended) -> None:
    assert heads.status == 0
    (group,) = heads.data["groups"]
    assert [(row["arm"], row["against"], row["paper_ap"]) for row in group["rows"]] == [
        ("vanilla-coupled", None, 38.5),
        ("vanilla-decoupled", "vanilla-coupled", 39.6),
        ("end-to-end-coupled", "vanilla-coupled", 34.3),
        ("end-to-end-decoupled", "vanilla-decoupled", 38.8),
    ]
    assert all(row["ap_best"] is not None for row in group["rows"])
    assert not group["warnings"], "the arms differ in what the paper's do, and in nothing else"
    lines = [line for line in heads.text("table1_as_printed.md").splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == [
        "| Models",
        "| :--",
        "| Vanilla YOLO",
        "| End-to-end YOLO",
    ]
    assert "coupled head, paper" not in heads.text("table1.md")
    assert len(list(heads.out.glob("*/head_curves.svg"))) == 1
    assert {v["source"] for v in heads.data["verdicts"] if v["gain_elsewhere"] is not None} == {
        "Table 1", "Table 2"
    }  # fmt: skip


@pytest.mark.xdist_group("models")
def test_scaling_ends_with_a_table_and_the_lower_panel_of_figure_1(models: Ended) -> None:
    assert models.status == 0
    (group,) = models.data["groups"]
    assert [table["name"] for table in group["tables"]] == ["table4"]
    assert group["tables"][0]["rows"] == ["YOLOv4-Tiny", "PPYOLO-Tiny", "YOLOX-Tiny", "NanoDet", "YOLOX-Nano"]
    (nano,) = (row for row in group["rows"] if row["arm"] == "yolox-nano")
    assert round(nano["params_full_size_m"], 2) == nano["paper_params_m"] == 0.91
    assert round(nano["gflops_full_size"], 2) == nano["paper_gflops"] == 1.08
    assert r"YOLOX-Nano & " in models.text("table4_as_printed.tex")
    assert len(list(models.out.glob("*/light_models.svg"))) == 1
