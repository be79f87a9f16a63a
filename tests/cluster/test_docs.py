"""docs/slurm.md, line by line: its sh blocks are run in order, in one shell, on the test cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from roadmap.datasets import describe_dataset, embedded_folder
from tests.cluster.laboratory import ROOT, Laboratory
from tests.cluster.registry import names, training_drill
from yolox_core.data.shapes import ensure_shapes_dataset

#: Seconds of training here instead of weeks.
PAPER, SECONDS = "--protocol paper --seeds 3", "--protocol smoke --stage simota"
#: Commands that a reader gives once the jobs before have ended.
AFTER_JOBS = ("report.md", "slurm retry", "python -m reports")
WAIT = 'while squeue --noheader --format=%Z | grep -qxF "$PWD"; do sleep 1; done\n'


def script(dataset: Path) -> str:
    """The page's sh blocks as one script, with a dataset that exists."""
    page = (ROOT / "docs" / "slurm.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    text = "set -euo pipefail\n"
    for block in blocks:
        text += (WAIT if any(sign in block for sign in AFTER_JOBS) else "") + block
    assert PAPER in text
    assert "/data/coco" in text
    return text.replace(PAPER, SECONDS).replace("/data/coco", str(dataset))


@training_drill
def documentation(lab: Laboratory) -> None:
    """From an empty folder to a finished study."""
    folder = lab.runs.parent / "reader"
    folder.mkdir()
    dataset = ensure_shapes_dataset(embedded_folder())
    path = f"{Path(sys.executable).parent}:{lab.cluster.env['PATH']}"
    env = lab.cluster.env | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env.pop("YOLOX_SITE", None)
    done = subprocess.run(
        ["bash", "-c", script(dataset)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    out = done.stdout
    assert done.returncode == 0, f"{out}\n{done.stderr}"
    assert "site my-cluster: 1 thing to fix" in out  # the fake GPUs
    assert re.search(r"[0-9.e-]+ training TFLOP/s per GPU \(the probe of", out)
    assert "TFLOP/s per GPU (the probe of" in out.split("----- report.sh")[1]  # the dry run's estimate
    assert re.search(r"^cancelled: \d+_0, \d+$", out, re.MULTILINE)
    assert (folder / "rehearsal/roadmap/report/report.md").exists()
    assert describe_dataset(dataset).name in (folder / "runs/roadmap/report/report.md").read_text()


@pytest.mark.cluster
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", names(__name__))
def test_drill(name: str, drills: dict[str, Future[None]]) -> None:
    drills[name].result()
