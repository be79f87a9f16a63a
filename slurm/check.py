"""Preflight: a short job that finds out what a training job would stumble over, and what to do about it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadmap.record import RunFolder, read_json
from slurm.errand import Errand, errand_folder, run_errand
from slurm.site import Site


@dataclass(frozen=True)
class Finding:
    """What one check says. where: the process (and its node); fix: what to do when it failed."""

    check: str
    ok: bool
    where: str
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """All findings of a preflight job."""

    folder: Path
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def merged(self) -> tuple[Finding, ...]:
        """Equal findings of several processes as one, in the order of first appearance."""
        groups: dict[tuple[str, bool, str, str], list[str]] = {}
        for finding in self.findings:
            key = (finding.check, finding.ok, finding.detail, finding.fix)
            groups.setdefault(key, []).append(finding.where)
        return tuple(
            Finding(check, ok, where[0] if len(where) == 1 else f"{len(where)} processes", detail, fix)
            for (check, ok, detail, fix), where in groups.items()
        )


def preflight(site: Site, runs: Path, data: str | None, patience: float) -> Report:
    """Run ``studies.attempt.preflight`` on every process of a job like a training job; gather what it found.

    data: the dataset's folder, None for the site's (or the embedded dataset). A lock is held here while the
    job runs, for its processes to see: one that they took themselves would prove nothing.
    Raises SlurmError when Slurm refuses or the job does not end in ``patience`` seconds.
    """
    folder = errand_folder("preflight", runs)
    arguments = ["-m", "studies.attempt.preflight", "--runs", str(runs.absolute()), "--output", str(folder)]
    arguments += ["--gpus", str(site.gpus_per_node), "--nodes", str(site.nodes)]
    dataset = data or site.coco
    if dataset:
        arguments += ["--data", dataset]
    with ExitStack() as held:
        problem = ""
        try:
            held.enter_context(RunFolder(folder).lock())
            arguments += ["--held", str(folder)]
        except OSError as error:
            problem = str(error)
        errand = run_errand("preflight", arguments, site, folder, patience)
    here = [_no_lock_here(problem)] if problem else []
    return Report(folder, (*here, *_gather(errand, site.tasks)))


def _no_lock_here(problem: str) -> Finding:
    fix = "mount the runs folder with locks that reach all nodes (NFS 4, or Lustre with -o flock)"
    return Finding("locks", False, "this node", f"no lock can be taken here: {problem}", fix)


def _gather(errand: Errand, processes: int) -> list[Finding]:
    findings = []
    for rank in range(processes):
        told = read_json(errand.folder / f"process-{rank}.json")
        if told is None:
            findings.append(_silent(rank, errand))
        else:
            findings += [_finding(entry, rank, told["node"]) for entry in told["findings"]]
    return findings


def _finding(entry: dict[str, Any], rank: int, node: str) -> Finding:
    where = f"process {rank} on {node}"
    return Finding(entry["check"], entry["ok"], where, entry["detail"], entry["fix"])


def _silent(rank: int, errand: Errand) -> Finding:
    """A process that left no report: what Slurm and the log say instead."""
    log = errand.log()
    state = f"the job ended as {errand.state or 'unknown'}" + (f" ({errand.reason})" if errand.reason else "")
    if log:
        fix = "read the end of its log: modules, setup, python and container of the site profile"
        return Finding("start", False, f"process {rank}", f"no report, {state}; its log ends:\n{log}", fix)
    fix = f"make {errand.folder.parents[1]} a folder that the compute nodes can write to (--runs)"
    return Finding("start", False, f"process {rank}", f"no report and no log, {state}", fix)
