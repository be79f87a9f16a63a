"""``python -m reports`` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.reports.factory import write_run

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "cv2", "mlflow", "optuna", "pandas", "matplotlib", "scipy", "numpy")


def reports(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reports", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_help_teaches_and_is_quick() -> None:
    start = time.perf_counter()
    done = reports("--help")
    seconds = time.perf_counter() - start
    assert done.returncode == 0
    for word in ("--study", "--all", "--runs", "--out", "--json", "--no-figures", "Exit status"):
        assert word in done.stdout
    assert seconds < 3  # 0.1 s alone on the machine; the imports below are the real check


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, reports.__main__ as m\n"
        "try: m.main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_it_prints_the_table_and_where_the_report_is(runs: Path) -> None:
    write_run(runs, "simota")
    done = reports("--runs", runs, "--no-figures")
    assert done.returncode == 0, done.stderr
    assert "+SimOTA" in done.stdout
    assert "DEMO, NOT COCO" in done.stdout
    assert str(runs / "roadmap" / "report" / "report.md") in done.stdout


def test_json_is_one_document_and_nothing_else(runs: Path, tmp_path: Path) -> None:
    write_run(runs, "simota", ap=36.5)
    done = reports("--runs", runs, "--no-figures", "--json", "--out", tmp_path / "elsewhere")
    data = json.loads(done.stdout)
    row = next(row for row in data["groups"][0]["rows"] if row["arm"] == "simota")
    assert row["ap_best"] == 36.5
    assert row["paper_ap"] == 47.3
    assert (tmp_path / "elsewhere" / "report.md").exists()


def test_no_finished_runs_is_said_with_its_own_status(runs: Path) -> None:
    done = reports("--runs", runs)
    assert done.returncode == 3
    assert "no runs below" in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_refused() -> None:
    done = reports("--nonsense")
    assert done.returncode == 2


def test_only_light_libraries_are_imported_while_a_report_is_built(runs: Path) -> None:
    write_run(runs, "simota")
    code = (
        "import sys\nfrom pathlib import Path\nfrom reports.build import build_report\n"
        f"build_report(Path({str(runs)!r}))\n"
        "print([n for n in ('torch', 'torchvision', 'cv2', 'mlflow', 'optuna') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_study_name_cannot_leave_the_runs_folder(runs: Path) -> None:
    done = reports("--runs", runs, "--study", "../elsewhere")
    assert done.returncode == 2
    assert "study" in done.stderr
