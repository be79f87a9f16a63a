"""--cache: a run reads its training images from the cache, says so, and passes the folder on to its jobs."""

from __future__ import annotations

import json
from pathlib import Path

from roadmap.record import RunFolder
from studies.command.cli import main
from studies.roadmap import STUDY


def test_a_run_with_a_cache_trains_and_lists_it_as_a_deviation(tmp_path: Path) -> None:
    words = ["--stage", "simota", "--embedded", "--protocol", "smoke", "--launcher", "local", "--no-report"]
    words += ["--tracking", "off", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    assert main(STUDY, [*words, "--cache", str(tmp_path / "cache")]) == 0
    (folder,) = (RunFolder(path.parent) for path in (tmp_path / "runs").glob("roadmap/*/recipe.json"))
    result = json.loads((folder.path / "result.json").read_text())
    assert {"field": "training images", "paper": "decoded each time", "here": "from a cache"} in result[
        "deviations"
    ]
    (pixels,) = (tmp_path / "cache").glob("*/pixels.bin")
    assert pixels.stat().st_size > 0
