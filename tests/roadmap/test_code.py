"""Which code a run was trained by, and copies of it that nobody edits."""

import os
import subprocess
from pathlib import Path

import pytest

from roadmap.code import Code, code_state, freeze


def git(folder: Path, *arguments: str) -> None:
    who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, env=os.environ | who
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of two files; a third one is ignored by git."""
    folder = tmp_path / "project"
    (folder / "roadmap").mkdir(parents=True)
    (folder / "roadmap" / "code.py").write_text("x = 1\n")
    (folder / "notes.md").write_text("a\n")
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    (folder / "runs").mkdir()
    (folder / "runs" / "big").write_text("not code")
    return folder


def test_a_commit_and_what_was_changed_since(checkout: Path) -> None:
    clean = code_state(checkout)
    assert (len(clean.commit or ""), clean.dirty, clean.changes) == (40, False, "")
    assert str(clean) == (clean.commit or "")[:7]
    (checkout / "roadmap" / "code.py").write_text("x = 2\n")
    changed = code_state(checkout)
    assert (changed.commit, changed.dirty, len(changed.changes)) == (clean.commit, True, 8)
    assert str(changed) == f"{(clean.commit or '')[:7]} with local changes {changed.changes}"
    (checkout / "roadmap" / "code.py").write_text("x = 3\n")
    assert code_state(checkout).changes != changed.changes, "another change is another code"


def test_what_is_installed_has_no_commit(tmp_path: Path) -> None:
    assert code_state(tmp_path) == Code()
    assert str(Code()) == "unknown code"


def test_a_frozen_copy_holds_the_code_as_it_is_now_and_says_which(checkout: Path, tmp_path: Path) -> None:
    (checkout / "roadmap" / "code.py").write_text("x = 2\n")
    state = code_state(checkout)
    copy = freeze(tmp_path / "submissions", checkout)
    (checkout / "roadmap" / "code.py").write_text("x = 3\n")
    assert (copy / "roadmap" / "code.py").read_text() == "x = 2\n"
    assert not (copy / "runs").exists(), "only what belongs to the code"
    assert code_state(copy) == state
    assert copy.name == f"code-{(state.commit or '')[:12]}-{state.changes}"


def test_the_same_code_is_copied_once(checkout: Path, tmp_path: Path) -> None:
    first = freeze(tmp_path / "submissions", checkout)
    before = (first / "notes.md").stat().st_ino
    assert freeze(tmp_path / "submissions", checkout) == first
    assert (first / "notes.md").stat().st_ino == before


def test_a_copy_that_was_not_completed_is_made_again(checkout: Path, tmp_path: Path) -> None:
    copy = freeze(tmp_path / "submissions", checkout)
    (copy / "frozen.json").unlink()
    (copy / "notes.md").unlink()
    assert (freeze(tmp_path / "submissions", checkout) / "notes.md").exists()


def test_nothing_to_freeze_outside_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--freeze copies a git checkout, and this code is none"):
        freeze(tmp_path / "submissions", tmp_path)
