"""The command lines answer at once, teach, and speak clean JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roadmap.paper import table
from roadmap.study import Study
from studies.command.cli import main
from studies.heads import STUDY as HEADS
from studies.roadmap import STUDY
from studies.scaling import STUDY as SCALING

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = {
    "studies.roadmap": (["--help"], ["--list"], ["--list-settings"], ["--dry-run", "--launcher", "local"]),
    "studies.attribution": (["--only", "fraction", "--embedded", "--dry-run", "--launcher", "local"],),
    "studies.heads": (["--list"],),
    "studies.scaling": (["--list"],),
    "studies.search": (
        ["--help"],
        ["--list"],
        ["simota-lr", "--embedded", "--dry-run", "--launcher", "local"],
    ),
    "studies.run": (["--help"], ["--on", "simota", "--embedded", "--dry-run", "--launcher", "local"]),
    "studies.profile": (["--help"],),
    "studies.check_data": (["--help"],),
    "studies.convert": (["--help"],),
    "studies.evaluate": (["--help"],),
    "studies.export": (["--help"],),
    "studies.deploy": (["--help"],),
    "studies.streaming": (["--help"],),
    "studies.report": (["--help"],),
    "studies.sync": (["--help"],),
    "studies.dashboard": (["--help"],),
    "reports": (["--help"],),
    "slurm": (["--help"], ["sites"]),
}
HEAVY = ("torch", "torchvision", "cv2", "mlflow", "optuna")

# Runs a module as python -m does, then says on stderr which heavy libraries it had imported.
WATCHED = f"""
import runpy, sys
module, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    print("heavy:", *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def call(module: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("COCO_DIR", "YOLOX_SITE")}
    return subprocess.run(
        [sys.executable, "-c", WATCHED, module, *arguments],
        cwd=REPOSITORY,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "arguments"), [(module, a) for module, many in COMMANDS.items() for a in many], ids=str
)
def test_looking_imports_nothing_heavy(module: str, arguments: list[str]) -> None:
    """Their import is what takes seconds; without them the answer comes within one (make benchmarks)."""
    done = call(module, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.splitlines()[-1] == "heavy:"


def test_list_as_json() -> None:
    rows = json.loads(call("studies.roadmap", "--list", "--json").stdout)
    assert [row["arm"] for row in rows][:3] == [None, "baseline", "decoupled-head"]
    assert [row["paper AP"] for row in rows] == [44.3, 38.5, 39.6, 42.0, 42.9, 45.0, 47.3, 46.5]
    assert rows[0]["row"] == "YOLOv3-ultralytics", "a row of the paper's that no arm trains"


@pytest.mark.parametrize("study", [HEADS, SCALING], ids=lambda study: study.name)
def test_the_list_has_every_row_of_the_papers_tables_with_its_figures(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(study, ["--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    columns = {"ap": "paper AP", "params_m": "paper params (M)", "gflops": "paper GFLOPs"}
    found = {
        source: [
            tuple(row.get(column) for column in columns.values()) for row in rows if row["table"] == source
        ]
        for source in ("Table 1", "Table 3", "Table 4")
    }
    printed = {
        source: [tuple(row.get(key) for key in columns) for row in table(name)]
        for source, name in (
            ("Table 1", "table1_end_to_end"), ("Table 3", "table3_yolov5"), ("Table 4", "table4_tiny_nano")
        )
    }  # fmt: skip
    expected = {source for source in printed if any(found[source])}
    assert expected == ({"Table 1"} if study is HEADS else {"Table 3", "Table 4"})
    assert {s: found[s] for s in expected} == {s: printed[s] for s in expected}


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As of ``python -m studies.heads --list --json | head``."""
    for module, arguments in (
        ("studies.heads", ["--list", "--json"]),
        ("studies.roadmap", ["--list-settings"]),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")


def test_designs_are_listed_and_a_fractions_aliasing_is_printed_before_it_is_run() -> None:
    assert (
        "\n--only fraction: 16 arms. 16 of 64 combinations, resolution IV"
        in call("studies.attribution", "--list").stdout
    )
    dry = call("studies.attribution", "--only", "fraction", "--embedded", "--dry-run", "--launcher", "local")
    assert dry.stdout.count("runs/attribution/") == 16
    assert "cannot be told apart: decoupled head × strong augmentation = anchor-free × multi positives" in (
        dry.stderr
    )
    wrong = call("studies.attribution", "--only", "fractoin", "--embedded", "--dry-run")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "unknown arm 'fractoin'; did you mean fraction or factorial?" in wrong.stderr


def test_dry_run_as_json(tmp_path: Path) -> None:
    done = call(
        "studies.roadmap", "--dry-run", "--json", "--seeds", "2", "--stage", "simota", "--stage", "baseline",
        "--launcher", "local", "--runs", str(tmp_path),
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert [(run["arm"], run["seed"]) for run in document["runs"]] == [
        ("simota", 0),
        ("baseline", 0),
        ("simota", 1),
        ("baseline", 1),
    ]
    assert document["protocol"] == "demo"
    assert all(run["state"] == "new" and run["training_flops"] > 0 for run in document["runs"])
    assert document["training_flops_to_do"] == sum(run["training_flops"] for run in document["runs"])
    assert "not COCO figures" in done.stderr, "the embedded dataset is announced"
    assert not list(tmp_path.iterdir()), "nothing was run"


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["--stage", "simotta"], {}, "unknown stage 'simotta'; choose one of: baseline, decoupled-head"),
        (["--data", "/no/such/folder"], {}, "--data"),
        ([], {"COCO_DIR": "/no/such/folder"}, "COCO_DIR"),
        (["--imagenet-weights", "/no/such/file"], {}, "weights file /no/such/file: No such file"),
        (["--launcher", "slurm", "--site", "nowhere"], {}, "no site 'nowhere'; choose one of"),
    ],
)
def test_mistakes_are_named(arguments: list[str], variables: dict[str, str], message: str) -> None:
    done = call("studies.roadmap", "--dry-run", *arguments, **variables)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "argument --seed: must be from 0 to 4294967295, not -1"),
        (["--seed", str(10**30)], "argument --seed: must be from 0 to 4294967295"),
        (["--workers", "-3"], "argument --workers: must be from 0 (none) to 256, not -3"),
        (["--data", ""], "--data is empty; give a folder, or --embedded"),
        (["--embedded", "--data", "x"], "--embedded is a dataset of its own; leave out --data"),
        (["--weights", "{text}"], "is no PyTorch checkpoint; give a .pth or .pt file"),
        (
            ["--protocol", "fine-tune"],
            "the protocol fine-tune starts from a trained model; give it with --weights FILE",
        ),
        (
            ["--imagenet-weights", "{pth}"],
            "--imagenet-weights: none of simota starts from ImageNet",
        ),
    ],
)
def test_slips_are_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"text": tmp_path / "notes.txt", "pth": tmp_path / "darknet.pth"}
    files["text"].write_text("weights, one day", encoding="utf-8")
    files["pth"].write_bytes(b"PK\x03\x04 as far as planning looks")
    words = [word.format(**files) for word in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(STUDY, ["--dry-run", "--only", "simota", "--launcher", "local", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_sbatch_without_a_cluster(tmp_path: Path) -> None:
    """Slurm's package is installed, and no cluster answers: the dry run shows what would run here."""
    for name in ("sbatch", "sinfo", "squeue"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'Could not establish a configuration source' >&2; exit 1\n")
        program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    common = ("studies.roadmap", "--embedded", "--stage", "simota", "--runs", str(tmp_path / "runs"))
    done = call(*common, "--dry-run", PATH=path)
    assert done.returncode == 0
    assert "Slurm does not answer (Could not establish a configuration source" in done.stderr
    assert "--launcher local" in done.stderr
    assert "Nothing was run." in done.stdout
    assert "#SBATCH" not in done.stdout
    assert "#SBATCH" in call(*common, "--dry-run", "--launcher", "slurm", PATH=path).stdout
    done = call(*common, PATH=path)
    assert done.returncode == 2
    assert "to run here, without Slurm: --launcher local" in done.stderr


def test_the_embedded_dataset_can_be_forced() -> None:
    done = call(
        "studies.roadmap", "--dry-run", "--embedded", "--launcher", "local", COCO_DIR="/no/such/folder"
    )
    assert done.returncode == 0, done.stderr


def test_the_array_task_is_a_folder_and_how_to_run_it(tmp_path: Path) -> None:
    started = time.monotonic()
    done = call(
        "studies.roadmap", "--dry-run", "--launcher", "slurm", "--stage", "simota", "--seed", "3",
        "--runs", str(tmp_path), "--json", "--tracking", "http://host:5000",
    )  # fmt: skip
    assert time.monotonic() - started < 60
    (task,) = [
        line for line in json.loads(done.stdout)["scripts"]["tasks.txt"].splitlines() if "simota" in line
    ]
    (run,) = re.findall("^[0-9]+ (simota-s3-[0-9a-f]{8}) ", task)
    assert task.split()[2:] == [
        "-m",
        "studies.run",
        f"{tmp_path}/roadmap/{run}",
        "--tracking",
        "http://host:5000",
    ]
    assert not (tmp_path / "roadmap").exists(), "a dry run plans nothing"
