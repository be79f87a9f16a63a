"""One command for the first hour on a GPU: do the tests pass there, does a run resume, how fast is it?

    make gpu                                        where there is a GPU; under 25 minutes
    python -m benchmarks.gpu --rehearse             every step on this machine's CPU, small, in minutes
    python -m benchmarks.gpu --list                 what it does

It needs neither a network, nor MLflow, nor a compiler. What is missing (the official code, photographs, the
official Nano weights) leaves its steps out, and the page says so. Each step is a command that can be typed
alone. What they printed goes to DIR/gpu.json and DIR/README.md (default docs/results/gpu), written anew after
every step, so that a lease that ends early keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".peer"
PHOTOGRAPHS = ROOT.parent / "shared" / "coco-mini"
WEIGHTS = ROOT.parent / "shared" / "weights" / "yolox_nano.pth"
OUT = ROOT / "docs" / "results" / "gpu"
#: Seconds a whole session may take.
LIMIT = 1500


@dataclass(frozen=True)
class Step:
    """A command to measure something, typed as ``python ARGUMENTS``.

    title: what the page calls it. rehearsal: arguments on a CPU. seconds: it is stopped after that.
    needs: ``official code``, ``photographs``, ``weights``: what not every machine has.
    interrupt: SIGTERM after the first epoch, then the same command again: does it resume?
    """

    title: str
    arguments: tuple[str, ...]
    rehearsal: tuple[str, ...]
    seconds: int
    needs: tuple[str, ...] = ()
    interrupt: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a step did. status: its exit status, None when left out or stopped. output: what it printed."""

    title: str
    command: str
    status: int | None
    seconds: float
    output: str
    note: str = ""


def steps(runs: str, data: str) -> tuple[Step, ...]:
    """All of them, the most telling first. runs: scratch folder for run records. data: photographs."""
    roadmap = ("-m", "studies.roadmap", "--embedded", "--protocol", "smoke", "--launcher", "local")
    roadmap = (*roadmap, "--tracking", "off", "--runs", runs)
    profile = ("-m", "studies.profile", "--latency", "--json")
    throughput = ("-m", "benchmarks.throughput", "--data", data)
    evaluate = ("-m", "studies.evaluate", "--model", "yolox-nano", "--weights", str(WEIGHTS), "--data", data)
    small = ("--size", "64", "--batch", "2", "--iterations", "1", "--workers", "1")
    return (
        Step(
            "Tests that need CUDA",
            ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", "tests"),
            ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", "tests"),
            240,
        ),
        Step(
            "The roadmap in mixed precision, stopped and resumed",
            (*roadmap, "--device", "cuda"),
            (*roadmap, "--device", "cpu", "--stage", "simota"),
            420,
            interrupt=True,
        ),
        Step(
            "Training throughput with data loading, beside the official code",
            (*throughput, "--device", "cuda", "--workers", "8", "--batch", "32"),
            (*throughput, "--device", "cpu", "--model", "yolox-nano", *small),
            360,
            needs=("official code", "photographs"),
        ),
        Step(
            "Latency of the seven stages and the six models, half precision, batch 1",
            (*profile, "--device", "cuda"),
            (*profile, "--device", "cpu", "--model", "yolox-nano", "--image-size", "64", "--repeats", "2"),
            240,
        ),
        Step(
            "AP of the official Nano weights on coco-mini's val2017 (38.255 by the official code on a CPU)",
            (*evaluate, "--device", "cuda"),
            (*evaluate, "--device", "cpu"),
            90,
            needs=("photographs", "weights"),
        ),
        Step(
            "Label assignment beside the official code",
            ("-m", "benchmarks.assignment", "--device", "cuda"),
            ("-m", "benchmarks.assignment", "--size", "128", "--rounds", "2"),
            60,
            needs=("official code",),
        ),
        Step(
            "OTA beside SimOTA, per assignment and per training step (the paper: 25 % more training time)",
            ("-m", "benchmarks.transport", "--device", "cuda", "--batch", "16", "--rounds", "30"),
            ("-m", "benchmarks.transport", "--size", "64", "--rounds", "1", "--model", "yolox-nano"),
            60,
        ),
        Step(
            "Loss, forward and backward, beside the official code",
            ("-m", "benchmarks.loss", "--device", "cuda"),
            ("-m", "benchmarks.loss", "--size", "128", "--rounds", "2"),
            90,
            needs=("official code",),
        ),
        Step(
            "Inference of S beside the official code",
            ("-m", "benchmarks.inference", "--device", "cuda", "--model", "yolox-s"),
            ("-m", "benchmarks.inference", "--model", "yolox-nano", "--size", "64", "--rounds", "1"),
            120,
            needs=("official code",),
        ),
        Step(
            "The data path alone",
            ("-m", "benchmarks.loading", "--data", data, "--workers", "8"),
            ("-m", "benchmarks.loading", "--data", data, "--size", "128", "--workers", "1", "--batches", "4"),
            120,
            needs=("official code", "photographs"),
        ),
    )


def main() -> int:
    """Carry out all steps; 0 when each that could run has succeeded, 1 otherwise."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="yolox-gpu-") as runs:
        todo = steps(runs, str(options.data))
        if options.list:
            print(describe(todo))
            return 0
        gpu = describe_gpu()
        if gpu is None and not options.rehearse:
            print("PyTorch sees no CUDA device here, so nothing was run. With one, make gpu would:\n")
            print(describe(todo))
            print("\npython -m benchmarks.gpu --rehearse runs every step on the CPU, small.")
            return 0
        missing = _missing(options.data)
        machine = describe_machine(
            "a rehearsal on the CPU: no figure here means anything" if options.rehearse else gpu
        )
        out = options.out or (
            Path(tempfile.gettempdir()) / "yolox-gpu-rehearsal" if options.rehearse else OUT
        )
        outcomes: list[Outcome] = []
        end = time.monotonic() + LIMIT
        for step in todo:
            print(f"== {step.title}", flush=True)
            outcome = carry_out(step, options.rehearse, missing, end - time.monotonic())
            print(f"   {outcome.note or 'done'} ({outcome.seconds:.0f} s)", flush=True)
            outcomes.append(outcome)
            write(out, machine, outcomes)
    print(f"written: {out / 'README.md'}, {out / 'gpu.json'}")
    return 1 if any(o.status not in (0, None) or o.note.startswith("stopped") for o in outcomes) else 0


def describe(todo: Sequence[Step]) -> str:
    """The steps as a list, each with the command that it is."""
    return "\n".join(
        f"- {s.title} (at most {s.seconds} s)\n    python {shlex.join(s.arguments)}" for s in todo
    )


def carry_out(step: Step, rehearse: bool, missing: Sequence[str], left: float) -> Outcome:
    """Run a step's command. left: seconds that the session has."""
    words = (sys.executable, *(step.rehearsal if rehearse else step.arguments))
    command = f"python {shlex.join(words[1:])}"
    lacking = [name for name in step.needs if name in missing]
    if lacking:
        return Outcome(step.title, command, None, 0.0, "", f"left out: no {' and no '.join(lacking)} here")
    if left <= 0:
        return Outcome(step.title, command, None, 0.0, "", f"left out: the {LIMIT} s were over")
    start = time.monotonic()
    limit = min(step.seconds, left)
    note, status, output = "", None, ""
    try:
        if step.interrupt:
            output, note = _interrupted(words, limit)
        done = _run(words, limit - (time.monotonic() - start))
        status, output = done.returncode, output + done.stdout
        if status and not (status == 5 and "pytest" in words):  # pytest: no test chosen
            note = f"failed with status {status}"
        elif status:
            status, note = 0, "no test was chosen"
    except subprocess.TimeoutExpired as error:
        note = f"stopped after {limit:.0f} s"
        output += (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else ""
    return Outcome(step.title, command, status, time.monotonic() - start, _readable(output), note)


def _run(words: Sequence[str], limit: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=max(1.0, limit),
        check=False,
    )


def _interrupted(words: Sequence[str], limit: float) -> tuple[str, str]:
    """Start a study, ask it to stop after its first epoch, wait for it; what it printed, and a note."""
    runs = Path(words[words.index("--runs") + 1])
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    end = time.monotonic() + limit / 2
    while process.poll() is None and time.monotonic() < end:
        if any(path.stat().st_size for path in runs.glob("*/*/metrics.jsonl")):
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.1)
    try:
        output = process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0]
        return output, "did not stop within 60 s of SIGTERM"
    return output, f"stopped with status {process.returncode} (75: a checkpoint was written), then resumed"


def _readable(output: str) -> str:
    """Without what progress bars drew over, and not without end."""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in output.splitlines()]
    text = "\n".join(line for line in lines if line)
    return text if len(text) < 20000 else f"{text[:4000]}\n…\n{text[-16000:]}"


def describe_gpu() -> str | None:
    """The first CUDA device's name, None where PyTorch sees none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def describe_machine(device: str | None) -> dict[str, Any]:
    """The conditions of every figure on the page."""
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "device": device,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "commit": commit or None,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write(out: Path, machine: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """gpu.json and README.md of what is known so far."""
    out.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "steps": [asdict(outcome) for outcome in outcomes]}
    _replace(out / "gpu.json", json.dumps(document, indent=1) + "\n")
    parts = ["# On a GPU", "", "Written by `make gpu`. Conditions of every figure below:", ""]
    parts += ["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in machine.items()), ""]
    for outcome in outcomes:
        result = outcome.note or "done"
        parts += [f"## {outcome.title}", "", f"`{outcome.command}`: {result}, {outcome.seconds:.0f} s", ""]
        if outcome.output:
            parts += ["```", outcome.output, "```", ""]
    _replace(out / "README.md", "\n".join(parts))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _missing(data: Path) -> tuple[str, ...]:
    found: dict[str, Callable[[], bool]] = {
        "official code": lambda: (PEER / "yolox").is_dir(),
        "photographs": lambda: (data / "annotations").is_dir(),
        "weights": WEIGHTS.is_file,
    }
    return tuple(name for name, there in found.items() if not there())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the page goes")
    parser.add_argument(
        "--data", type=Path, default=PHOTOGRAPHS, metavar="DIR", help="photographs, COCO's layout"
    )
    parser.add_argument("--rehearse", action="store_true", help="every step on the CPU, small")
    parser.add_argument("--list", action="store_true", help="the steps and their commands")
    return parser


if __name__ == "__main__":
    sys.exit(main())
