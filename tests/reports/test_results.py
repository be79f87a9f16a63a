"""Studies kept in docs/results: their reports follow from their records, to the last digit that is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.build import build_report
from reports.records.keep import ARCHIVE, read_images, unpack_records

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
KEPT = sorted(path.parent for path in RESULTS.glob(f"*/{ARCHIVE}"))


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: path.name)
def test_a_kept_report_follows_from_its_records(folder: Path, tmp_path: Path) -> None:
    """python -m reports --kept docs/results/NAME writes it anew."""
    kept = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    study = unpack_records(folder, tmp_path / "runs")
    built = build_report(
        tmp_path / "runs", study, tmp_path / "report", figures=False, images=read_images(folder)
    )
    assert_within(kept["groups"], json.loads(json.dumps(built.data["groups"])))
    for name in kept["files"]:
        assert (folder / "report" / name).is_file(), name
    for group in kept["groups"]:
        if group["effects"] and group["effects"]["exact"]:
            effects = group["effects"]
            ap = {row["arm"]: row["ap_best"] for row in group["rows"]}
            on = {len(one): arm for one, arm in zip(effects["combinations"], effects["arms"], strict=True)}
            everything, nothing = on[len(effects["factors"])], on[0]
            values = [item["mean"]["value"] for item in effects["ingredients"]]
            assert sum(values) == pytest.approx(ap[everything] - ap[nothing], abs=1e-9)


def assert_within(kept: Any, built: Any, where: str = "") -> None:
    """Everything kept is in what was built, numbers to rounding; what a later report adds is no matter,
    nor how it words a caption.
    """
    if isinstance(kept, dict):
        for key, value in kept.items():
            if key == "caption":
                continue
            assert key in built, f"{where}/{key}"
            assert_within(value, built[key], f"{where}/{key}")
    elif isinstance(kept, list):
        assert len(kept) == len(built), where
        for place, (one, other) in enumerate(zip(kept, built, strict=True)):
            assert_within(one, other, f"{where}/{place}")
    elif isinstance(kept, float):
        assert built == pytest.approx(kept, abs=1e-9), where
    else:
        assert built == kept, where
