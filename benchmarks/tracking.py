"""What tracking costs a training, and what an outage loses: python -m benchmarks.tracking

Drills with a stand-in for training that writes real records (tests/studies/tracking_standin.py), and real
MLflow servers on localhost:

    cost      one training on the processor: without tracking, with a server, with a server that is away
    outage    a server that is killed in mid-training and comes back
    never     a server that is never there
    crowd     32 trainings that log to one server at once

After each drill the records are synchronised and every point is compared with the server's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadmap.record import find_runs, read_json
from studies.mirror.layout import read_view
from studies.mirror.store import connect
from studies.sync import sync
from tests.studies.tracking_servers import a_port, mlflow_server, points_of, runs_of
from tests.studies.tracking_standin import _loops_per_second

Figures = dict[str, Any]


def train(runs: Path, uri: str, *arguments: str) -> subprocess.Popen[str]:
    """Start one stand-in; its standard output is one JSON document."""
    command = [sys.executable, "-m", "tests.studies.tracking_standin", str(runs), "--uri", uri, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> Figures:
    output, _ = process.communicate()
    assert process.returncode == 0, f"the stand-in ended with {process.returncode}"
    return json.loads(output)


def compare(runs: Path, uri: str) -> Figures:
    """Synchronise, twice, and compare every record with the server."""
    before = {
        f.name: (read_json(f.path / "tracking.json") or {}).get("mirrored_epoch", 0) for f in find_runs(runs)
    }
    began = time.perf_counter()
    first = [outcome.outcome for outcome in sync(runs, uri)]
    seconds = time.perf_counter() - began
    second = [outcome.outcome for outcome in sync(runs, uri)]
    client = connect(uri, runs)
    mirrored = {run.data.tags["run"]: points_of(client, run) for run in runs_of(client, "run")}
    expected = {f.name: {(p.key, p.step, p.value) for p in read_view(f).points} for f in find_runs(runs)}
    return {
        "epochs mirrored before sync": sum(before.values()),
        "sync": {outcome: first.count(outcome) for outcome in sorted(set(first))},
        "sync seconds": round(seconds, 1),
        "second sync": {outcome: second.count(outcome) for outcome in sorted(set(second))},
        "points": sum(map(len, expected.values())),
        "points lost": sum(len(expected[name] - set(mirrored.get(name, ()))) for name in expected),
        "points twice": sum(count > 1 for points in mirrored.values() for count in points.values()),
        "runs too many": len(mirrored) - len(expected),
        "stages": len(runs_of(client, "stage")),
        "status": sorted({run.info.status for run in runs_of(client, "run")}),
    }


def cost(folder: Path, repeats: int = 3) -> Figures:
    """Median seconds of one training, in turns so that a busy machine is equally busy for all."""
    arguments = ("--epochs", "20", "--seconds", "0.5")
    found: dict[str, list[Figures]] = {"off": [], "server": [], "away": []}
    with mlflow_server(folder / "server", a_port()) as address:
        for repeat in range(repeats):
            for name, uri in (("off", "off"), ("server", address), ("away", f"http://127.0.0.1:{a_port()}")):
                found[name].append(result(train(folder / f"{name}{repeat}", uri, *arguments)))
    table: Figures = {}
    for name, rows in found.items():
        table[name] = {
            "training s (least, median, most)": spread(rows, "training"),
            "slower %, of the least": slower(found["off"], rows, min),
            "slower %, of the median": slower(found["off"], rows, statistics.median),
            "in tracker calls ms": round(
                1000 * statistics.median(row["calls"] + row["starting"] for row in rows), 1
            ),
            "closing s": round(statistics.median(row["closing"] for row in rows), 2),
            "mirror's processor s": round(statistics.median(row["mirror_cpu"] for row in rows), 2),
        }
    return table


def spread(rows: list[Figures], key: str) -> list[float]:
    values = [row[key] for row in rows]
    return [round(value, 2) for value in (min(values), statistics.median(values), max(values))]


def slower(before: list[Figures], after: list[Figures], of: Callable[[list[float]], float]) -> float:
    """By how many percent training takes longer, comparing the least or the median of repetitions."""
    first, second = (of([row["training"] for row in rows]) for rows in (before, after))
    return round(100 * (second / first - 1), 2)


def outage(folder: Path) -> Figures:
    """100 epochs of half a second; the server is away for a part of them."""
    runs, port = folder / "runs", a_port()
    with mlflow_server(folder / "server", port) as address:
        process = train(runs, address, "--epochs", "100", "--seconds", "0.5", "--idle")
        wait_for_epoch(runs, 8)
    away_from = last_epoch(runs)
    wait_for_epoch(runs, 30, recorded=True)
    with mlflow_server(folder / "server", port):
        back_at = last_epoch(runs)
        figures = result(process)
        found = compare(runs, address)
    times = {
        "training s": round(figures["training"], 2),
        "ideal s": 50.0,
        "closing s": round(figures["closing"], 2),
    }
    return {"away between epochs": [away_from, back_at], **times, "left over": figures["left_over"], **found}


def never(folder: Path) -> Figures:
    """A training without its server; synchronised to another one afterwards."""
    runs = folder / "runs"
    address = f"http://127.0.0.1:{a_port()}"
    figures = result(train(runs, address, "--epochs", "20", "--seconds", "0.5", "--idle"))
    with mlflow_server(folder / "server", a_port()) as other:
        found = compare(runs, other)
    return {
        "training s": round(figures["training"], 2),
        "ideal s": 10.0,
        "left over": figures["left_over"],
        **found,
    }


def crowd(folder: Path, processes: int, seconds: float, epochs: int = 60) -> Figures:
    """Many trainings at once whose devices compute, so that this machine's few cores are not their limit."""
    arguments = ("--epochs", str(epochs), "--seconds", str(seconds), "--idle")
    stages = ("baseline", "simota", "anchor-free", "nms-free")
    times: dict[str, list[Figures]] = {}
    with mlflow_server(folder / "server", a_port()) as address:
        for name, uri in (("off", "off"), ("tracked", address)):
            started = [
                train(folder / name, uri, "--stage", stages[n % 4], "--seed", str(n // 4), *arguments)
                for n in range(processes)
            ]
            times[name] = in_parallel(started)
        found = compare(folder / "tracked", address)
    off, tracked = times["off"], times["tracked"]
    calls = [row["calls"] + row["starting"] for row in tracked]
    return {
        "processes": processes,
        "training s (least, median, most)": {name: spread(rows, "training") for name, rows in times.items()},
        "slower %, of the median": slower(off, tracked, statistics.median),
        "slower %, of the most": slower(off, tracked, max),
        "in tracker calls ms (median, most)": [round(1000 * f(calls), 1) for f in (statistics.median, max)],
        "closing s (least, median, most)": spread(tracked, "closing"),
        "mirror's processor s": spread(tracked, "mirror_cpu"),
        "not whole at the end": sum(row["left_over"] is not None for row in tracked),
        **found,
    }


def in_parallel(processes: list[subprocess.Popen[str]]) -> list[Figures]:
    """Results of processes that run at once; each has a reader, so that no pipe fills up."""
    found: list[Figures] = []
    threads = [threading.Thread(target=lambda p=process: found.append(result(p))) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def last_epoch(runs: Path) -> int:
    return max((row["epoch"] for folder in find_runs(runs) for row in folder.metrics()), default=0)


def wait_for_epoch(runs: Path, epoch: int, recorded: bool = False) -> None:
    """Until an epoch is mirrored (or, with ``recorded``, in the record)."""
    while True:
        states = [read_json(folder.path / "tracking.json") or {} for folder in find_runs(runs)]
        mirrored = max((state.get("mirrored_epoch", 0) for state in states), default=0)
        if (last_epoch(runs) if recorded else mirrored) >= epoch:
            return
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("drills", nargs="*", metavar="DRILL", help="cost, outage, never, crowd; default: all")
    parser.add_argument("--processes", type=int, default=32, help="of the crowd; default: 32")
    parser.add_argument("--seconds", type=float, default=1.0, help="of an epoch of the crowd; default: 1")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the servers would outlive us
    os.environ["STANDIN_LOOPS_PER_SECOND"] = str(_loops_per_second())
    drills: dict[str, Callable[[Path], Figures]] = {
        "cost": cost,
        "outage": outage,
        "never": never,
        "crowd": lambda folder: crowd(folder, options.processes, options.seconds),
    }
    for name in options.drills or drills:
        if name not in drills:
            parser.error(f"no drill {name!r}; choose of {', '.join(drills)}")
        with tempfile.TemporaryDirectory(prefix=f"tracking-{name}-") as folder:
            print(json.dumps({name: drills[name](Path(folder))}, indent=1), flush=True)


if __name__ == "__main__":
    main()
