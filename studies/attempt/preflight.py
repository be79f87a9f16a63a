"""Would a training job run here? Every process of a job asks its node and says what to fix.

    python -m slurm check --site my-cluster.toml       submits it as a job like a training job
    python -m studies.attempt.preflight --runs runs             this machine, by hand

Checks: packages, GPUs, rendezvous of all processes, shared memory, dataset, runs folder (space, locks
between nodes), tracker, and Slurm's commands, which a job needs to requeue itself.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roadmap.datasets import describe_dataset, find_splits, resolve_dataset
from roadmap.record import RunFolder, RunLockedError, write_json
from roadmap.redaction import public_uri
from studies.attempt.node_checks import Finding, check_gpus, check_own_gpu, check_shared_memory
from studies.mirror.own_store import store_file

#: Seconds for all processes to meet; a training job would wait longer, but no wiser.
RENDEZVOUS_SECONDS = 120
#: What one DarkNet53 run needs, with room to spare: two checkpoints of weights, EMA and momentum (0.8 GB
#: each), a third while it is being written, and the best weights.
_ROOM_BYTES = 4 << 30
_PACKAGES = ("torch", "torchvision", "cv2", "numpy", "pycocotools")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when everything is in order, else 1."""
    options = _parser().parse_args(arguments)
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    report = _Report(rank, node, options.output)
    report.add(_check_packages())
    if all(finding.ok for finding in report.findings):
        report.extend(check_gpus(options.gpus))
        report.extend(_check_together(options.nodes, options.runs, options.held, report))
    report.add(_guarded("dataset", lambda: _check_dataset(options.data)))
    report.add(_guarded("runs folder", lambda: _check_runs(options.runs, rank)))
    report.add(_check_tracker(os.environ.get("MLFLOW_TRACKING_URI", "")))
    report.add(_check_slurm())
    report.write()
    return 0 if all(finding.ok for finding in report.findings) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.attempt.preflight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--data", metavar="DIR", help="dataset; default: $COCO_DIR, else the embedded one")
    parser.add_argument(
        "--gpus", type=int, default=0, metavar="N", help="GPUs expected on a node (default 0)"
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="nodes expected (default 1)")
    parser.add_argument(
        "--held", type=Path, metavar="DIR", help="a folder that whoever waits for this holds the lock of"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where process-<rank>.json goes")
    return parser


class _Report:
    """What this process found, printed as it goes."""

    def __init__(self, rank: int, node: str, output: Path | None) -> None:
        self.rank, self.node, self.output = rank, node, output
        self.findings: list[Finding] = []

    def add(self, finding: Finding) -> None:
        self.findings.append(finding)
        word = "ok" if finding.ok else "FAILED"
        print(f"process {self.rank} on {self.node}: {finding.check}: {word}: {finding.detail}", flush=True)
        if not finding.ok:
            print(f"    to fix: {finding.fix}", flush=True)

    def extend(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.add(finding)

    def write(self) -> None:
        if self.output is not None:
            value = {"node": self.node, "findings": [asdict(finding) for finding in self.findings]}
            write_json(self.output / f"process-{self.rank}.json", value)


def _guarded(check: str, look: Callable[[], Finding]) -> Finding:
    """A check whose own errors are findings."""
    try:
        return look()
    except (OSError, ValueError, RuntimeError) as error:
        return Finding(check, False, f"{type(error).__name__}: {error}", "see the message")


def _check_packages() -> Finding:
    missing = []
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.import_module(name).__version__}")
        except ImportError as error:
            missing.append(f"{name} ({error})")
        except AttributeError:  # pycocotools tells no version
            versions.append(name)
    if missing:
        fix = (
            f"install the project for {sys.executable}, or set python in the site profile to one that has it"
        )
        return Finding("packages", False, f"missing: {'; '.join(missing)}", fix)
    return Finding("packages", True, f"Python {sys.version.split()[0]}, {', '.join(versions)}")


def _check_together(nodes: int, runs: Path, held: Path | None, report: _Report) -> list[Finding]:
    """Meet the other processes, and see whether a lock taken by the first is seen by all."""
    from yolox_core.training.distributed import join_world

    address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    fix = (
        "MASTER_ADDR must resolve and its port be open between the nodes; on several networks set "
        "NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME in the site profile's [variables]"
    )

    def give_up() -> None:
        detail = f"not all processes met at {address} in {RENDEZVOUS_SECONDS} s"
        report.add(Finding("rendezvous", False, detail, fix))
        report.write()
        os._exit(1)

    alarm = threading.Timer(RENDEZVOUS_SECONDS, give_up)
    alarm.daemon = True
    alarm.start()
    try:
        with join_world() as world:
            hosts = {str(host) for host in world.gather(report.node)}
            total = world.mean(_ones(world)) * world.size
            met = int(total.item()) == world.size and len(hosts) == nodes
            detail = f"{world.size} processes on {len(hosts)} of {nodes} nodes"
            how = "NCCL" if world.device.type == "cuda" else "gloo"
            findings = [Finding("rendezvous", met, f"{detail} ({how})", fix)]
            findings += check_own_gpu(world, report.node)
            findings.append(_guarded("shared memory", lambda: _check_shared_memory(world, report.node)))
            findings.append(_guarded("locks", lambda: _check_locks(world, runs, held)))
            return findings
    except (RuntimeError, ValueError, OSError) as error:
        return [Finding("rendezvous", False, f"at {address}: {error}", fix)]
    finally:
        alarm.cancel()


def _check_shared_memory(world: Any, node: str) -> Finding:
    from studies.attempt.share import data_workers

    return check_shared_memory(world.gather(node).count(node), data_workers(None, world))


def _ones(world: Any) -> Any:
    import torch

    return torch.ones(1, device=world.device)


def _check_locks(world: Any, runs: Path, held: Path | None) -> Finding:
    """The lock that keeps two jobs off one run must be seen from every node, and from where jobs are
    submitted.

    held: a folder whose lock the waiting side holds, None when nobody waits.
    """
    folder = RunFolder(runs / ".preflight-lock")
    with ExitStack() as mine:
        problem = ""
        if world.is_main:
            try:
                mine.enter_context(folder.lock())
            except (OSError, RunLockedError) as error:
                problem = str(error)
        problem = world.broadcast(problem)
        seen = folder.is_locked() if not problem else False
        world.barrier()
    fix = "mount the runs folder with locks that reach all nodes (NFS 4, or Lustre with -o flock)"
    if problem:
        return Finding("locks", False, f"the first process could not take a lock: {problem}", fix)
    if not seen:
        return Finding("locks", False, "a lock of the first process is not seen here", fix)
    if held is None:
        if world.size == 1:
            detail = "one process alone cannot tell; python -m slurm check holds a lock where it is called"
            return Finding("locks", True, f"not looked at: {detail}")
        return Finding("locks", True, "a lock is seen by every process")
    if not RunFolder(held).is_locked():
        return Finding(
            "locks", False, f"a lock held where the job was submitted ({held}) is not seen here", fix
        )
    return Finding("locks", True, "a lock held where the job was submitted is seen here")


def _check_dataset(argument: str | None) -> Finding:
    root = resolve_dataset(argument)
    if root is None:
        return Finding("dataset", True, "none given: the embedded one, made on first use")
    facts = describe_dataset(root)
    for split in find_splits(root):
        first = next((root / split).iterdir(), None)
        if first is None:
            return Finding("dataset", False, f"{root / split} is empty", "copy the images there")
        with first.open("rb") as file:
            file.read(1 << 16)
    detail = f"{facts.name}: {facts.train_images} training and {facts.val_images} validation images"
    return Finding("dataset", True, detail)


def _check_runs(runs: Path, rank: int) -> Finding:
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f".preflight-{os.getpid()}-{rank}"
    try:
        path.write_bytes(b"x" * 4096)
    finally:
        path.unlink(missing_ok=True)
    free = shutil.disk_usage(runs).free
    fix = "free some space, or choose another --runs; a run keeps three checkpoints"
    return Finding("runs folder", free >= _ROOM_BYTES, f"writable, {free / 2**30:.1f} GiB free", fix)


def _check_tracker(uri: str) -> Finding:
    if not uri:
        return Finding("tracker", True, "MLflow's default: a local SQLite store")
    fix = "training goes on without it; later: python -m studies.sync. Or correct tracking_uri in the profile"
    shown = public_uri(uri)
    if uri.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(f"{shown.rstrip('/')}/health", timeout=15) as answer:
                return Finding("tracker", answer.status == 200, f"{shown} answers {answer.status}", fix)
        except urllib.error.HTTPError as error:
            # Asked without the password: a proxy that wants one is there all the same.
            return Finding("tracker", error.code in (401, 403), f"{shown} answers {error.code}", fix)
        except (OSError, ValueError) as error:
            return Finding("tracker", False, f"{shown} does not answer: {error}", fix)
    file = store_file(uri)
    if file is not None:
        folder = file.absolute().parent
        ok = os.access(folder, os.W_OK)
        return Finding("tracker", ok, f"{folder} is {'' if ok else 'not '}writable", fix)
    return Finding("tracker", True, f"{shown} (not looked at)")


def _check_slurm() -> Finding:
    """A job that cannot call scontrol is not able to requeue itself."""
    if "SLURM_JOB_ID" not in os.environ:
        return Finding("Slurm's commands", True, "not in a job")
    missing = [name for name in ("squeue", "scontrol", "srun") if shutil.which(name) is None]
    fix = (
        "without them runs do not requeue themselves: python -m slurm resubmit goes on after each time limit"
    )
    detail = f"not on this node: {', '.join(missing)}" if missing else "squeue, scontrol and srun are here"
    return Finding("Slurm's commands", not missing, detail, fix)


if __name__ == "__main__":
    sys.exit(main())
