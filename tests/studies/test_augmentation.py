"""The study of augmentation: Table 5 from the command line to the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from reports.build import build_report
from roadmap.paper import table
from studies.augmentation import STUDY
from studies.command.cli import main
from tests.studies.small_runs import make_data


def test_list_names_every_row_of_the_table_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(STUDY, ["--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["paper AP"] for row in rows] == [row["ap"] for row in table("table5_augmentation")]
    assert {row["arm"]: (row["against"], row["paper gain"]) for row in rows if row["against"]} == {
        "yolox-nano-mixup": ("yolox-nano-plain", -1.3),
        "yolox-l-mixup": ("yolox-l-plain", 0.9),
        "yolox-l-copy-paste": ("yolox-l-plain", 0.8),
    }


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """YOLOX-L's arms, as short as a training can be, on squares with masks: status and the runs' folder."""
    folder = tmp_path_factory.mktemp("augmentation")
    data = make_data(folder / "data", segmentation=[[8, 6, 38, 6, 38, 36, 8, 36]])
    settings = (
        "training.epochs=1", "training.warmup_epochs=0", "training.closing_epochs=0",
        "training.multiscale=[64,64]", "training.batch_size=4",
    )  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    words += [word for name in STUDY.names if name.startswith("yolox-l") for word in ("--only", name)]
    words += ["--protocol", "smoke", "--launcher", "local", "--tracking", "off", "--device", "cpu"]
    words += ["--data", str(data), "--workers", "0", "--runs", str(folder / "runs"), "--no-report"]
    status = main(STUDY, words)
    build_report(folder / "runs", STUDY.name, figures=False)
    return status, folder / "runs" / STUDY.name


def test_it_ends_with_table_5_in_the_papers_layout(ended: tuple[int, Path]) -> None:
    status, folder = ended
    assert status == 0
    (file,) = (folder / "report").glob("*/table5_as_printed.csv")
    with file.open(encoding="utf-8") as text:
        rows: list[dict[str, str]] = list(csv.DictReader(text))
    words = [[row["Models"], row["Scale Jit."], row["Extra Aug."]] for row in rows]
    assert words == [
        ["YOLOX-Nano", "[0.5, 1.5]", "–"],
        ["YOLOX-Nano", "[0.1, 2.0]", "MixUp"],
        ["YOLOX-L", "[0.1, 2.0]", "–"],
        ["YOLOX-L", "[0.1, 2.0]", "MixUp"],
        ["YOLOX-L", "[0.1, 2.0]", "Copypaste"],
    ]
    (ours,) = (name for name in rows[0] if name.startswith("AP (%)") and name.endswith("not COCO"))
    assert [bool(row[ours]) for row in rows] == [False, False, True, True, True]
    page = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "How is Copy-Paste joined to Mosaic" in page, "the open choice is among the assumptions"


def test_masks_are_read_by_the_arm_that_needs_them_alone(ended: tuple[int, Path]) -> None:
    def masked(path: Path) -> bool:
        train: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["dataset"]["train"]
        return train.get("objects_without_mask") == 0

    _, folder = ended
    runs = {path.parent.name.partition("-s0-")[0]: masked(path) for path in folder.glob("*/environment.json")}
    assert runs == {"yolox-l-plain": False, "yolox-l-mixup": False, "yolox-l-copy-paste": True}
