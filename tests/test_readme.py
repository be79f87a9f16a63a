"""The README names every file, and its commands exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tools.module_map import with_map

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_map_is_up_to_date() -> None:
    assert with_map(README) == README, "run: make map"


def test_its_commands_and_links_exist() -> None:
    modules = set(re.findall(r"python -m ([a-z_.]+)", README))
    assert {"studies.roadmap", "studies.profile", "reports"} <= modules
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    assert not missing
    links = re.findall(r"\]\(((?!http)[^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets
