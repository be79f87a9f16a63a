"""docs/extending.md: its files are written, its changes made and its commands run, in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadmap.stages import STAGE_NAMES, stage_arm
from tests.reports.factory import write_run

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
PACKAGES = ("roadmap", "yolox_core", "studies", "reports", "slurm")


@dataclass(frozen=True)
class Listing:
    """kind: python, diff, sh or text. file: the path in the line before, empty without one."""

    kind: str
    file: str
    text: str


def listings() -> Iterator[Listing]:
    text = PAGE.read_text(encoding="utf-8")
    for match in re.finditer(r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Listing(match.group(2), match.group(1) or "", match.group(3))


def change(tree: Path, text: str) -> None:
    """Make the changes of a diff without line numbers; each must fit in exactly one place."""
    for part in re.split(r"^--- ", text, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@\n", part, flags=re.MULTILINE)
        path = tree / name.strip()
        content = path.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            assert content.count(before) == 1, f"docs/extending.md: no single place in {name} for\n{before}"
            content = content.replace(before, after)
        path.write_text(content, encoding="utf-8")


def run(tree: Path, command: str) -> str:
    words = command.split()
    assert words[0] == "python"
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=tree, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The copy after everything on the page was done, and what each command printed."""
    tree = tmp_path_factory.mktemp("extended")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for stage in STAGE_NAMES[:2]:
        for seed in range(2):
            write_run(tree / "runs", stage, seed)
    found: dict[str, str] = {}
    last = ""
    for listing in listings():
        if listing.kind == "python":
            assert listing.file, f"a listing without the file it goes into:\n{listing.text}"
            (tree / listing.file).write_text(listing.text, encoding="utf-8")
        elif listing.kind == "diff":
            change(tree, listing.text)
        elif listing.kind == "sh":
            for last in listing.text.splitlines():
                found[last] = run(tree, last)
        else:
            assert listing.kind == "text"
            assert found[last] == listing.text
    return tree, found


@pytest.mark.slow
def test_everything_on_the_page_works(printed: tuple[Path, dict[str, str]]) -> None:
    tree, found = printed

    def shown(word: str) -> str:
        (text,) = [text for command, text in found.items() if word in command.split()]
        return text

    assert "wider-head" in shown("--list")
    assert shown("--only").count("wider-head-s") == 3
    assert "Nothing was run" in shown("--on")
    assert list((tree / "runs" / "roadmap" / "report").glob("*/seeds.png"))
    assert "AP of every seed" in (tree / "runs" / "roadmap" / "report" / "report.html").read_text()


@pytest.mark.slow
def test_an_ingredient_that_is_off_leaves_earlier_runs_their_names(
    printed: tuple[Path, dict[str, str]],
) -> None:
    tree, _ = printed
    (tree / "hashes.py").write_text(
        "from roadmap.stages import STAGE_NAMES, stage_arm\n"
        "print(*[stage_arm(name).reference().hash for name in STAGE_NAMES])\n"
    )
    assert run(tree, "python hashes.py").split() == [stage_arm(name).reference().hash for name in STAGE_NAMES]


def test_the_page_has_listings_of_every_kind() -> None:
    kinds = [listing.kind for listing in listings()]
    assert kinds.count("python") == 4
    assert kinds.count("diff") == 2
    assert kinds.count("sh") == 4
