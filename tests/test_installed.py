"""Installed from a wheel, away from the checkout, everything that a user types works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("roadmap", "yolox_core", "studies", "reports", "slurm")

pytestmark = pytest.mark.xdist_group("installed")


def sources() -> set[str]:
    """Every file of the packages, as a path inside the checkout."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {p.relative_to(ROOT).as_posix() for p in files if "__pycache__" not in p.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, where no earlier build has left anything."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (*PACKAGES, "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md"):
        shutil.copy(ROOT / name, tree)
    out = tree / "dist"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", str(out), str(tree)], check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel, with our packages behind it."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(packages), str(wheel)], check=True)
    # A path in a .pth file brings the packages there, torch for one, but not the checkout that another .pth
    # file in that place may add.
    ours = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "behind.pth").write_text("\n".join(ours))
    # As users have it: the environment lies in a repository of their own.
    git = ["git", "-C", str(home), "-c", "user.name=user", "-c", "user.email=user@example.org"]
    subprocess.run(["git", "init", "--quiet", str(home)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "theirs"], check=True)
    return home / "bin" / "python"


def call(python: Path, where: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    unset = ("PYTHONPATH", "COCO_DIR", "YOLOX_SITE", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(python), *arguments],
        cwd=where, env=environment | variables, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_wheel_holds_every_file_of_every_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert sources() - inside == set()
    notes = {f"reports/decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md")}
    assert {name for name in inside - sources() if ".dist-info/" not in name} == notes


def test_what_is_imported_is_what_was_installed(python: Path, tmp_path: Path) -> None:
    code = "import roadmap, yolox_core, studies, reports, slurm as last; print(last.__path__[0])"
    where = call(python, tmp_path, "-c", code).stdout
    assert Path(where.strip()).is_relative_to(python.parents[1])


def test_looking(python: Path, tmp_path: Path) -> None:
    rows = json.loads(call(python, tmp_path, "-m", "studies.roadmap", "--list", "--json").stdout)
    assert [row["arm"] for row in rows if row["arm"]][::6] == ["baseline", "nms-free"]
    dry = ("-m", "studies.roadmap", "--embedded", "--dry-run", "--launcher", "local")
    assert "Nothing was run" in call(python, tmp_path, *dry).stdout
    assert "default" in call(python, tmp_path, "-m", "slurm", "sites").stdout
    assert "simota-lr" in call(python, tmp_path, "-m", "studies.search", "--list").stdout
    script = call(python, tmp_path, *dry[:-1], "slurm").stdout
    assert "#SBATCH --array" in script
    assert str(ROOT) not in script


@pytest.mark.slow
def test_a_run_and_its_report(python: Path, tmp_path: Path) -> None:
    run = (
        "--stage",
        "simota",
        "--protocol",
        "smoke",
        "--embedded",
        "--launcher",
        "local",
        "--tracking",
        "off",
    )
    call(python, tmp_path, "-m", "studies.roadmap", *run, "--no-report")
    done = call(python, tmp_path, "-m", "reports")
    assert "+SimOTA" in done.stdout
    folder = tmp_path / "runs" / "roadmap"
    assert list(folder.glob("report/*/*.png"))
    (environment,) = folder.glob("simota-*/environment.json")
    found = json.loads(environment.read_text(encoding="utf-8"))
    # Not the commit of the repository around it.
    assert found["commit"] is None
    assert found["packages"]["yolox-roadmap"] is not None
