"""One limit on a study's running tasks, however many arrays it has.

Slurm limits each array for itself; so every array gets a share, and the shares are dealt out anew at every
submission, by ``python -m slurm throttle`` and whenever a task is over.

    runs/<study>/submissions/throttle.json     the limit that a person has set for what is in the queue
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roadmap.record import read_json, write_json
from slurm import client
from slurm.submission import Submission, read_submissions, submissions_folder


def limit_of(study: str, runs: Path, default: int) -> int:
    """The limit that a person has set, else the site's; 0: none."""
    kept = read_json(_file(study, runs))
    return int(kept["limit"]) if kept else default


def set_limit(study: str, runs: Path, limit: int) -> None:
    """Set the limit of what is in the queue. Raises ValueError for a negative one."""
    if limit < 0:
        raise ValueError(f"the limit must be 0 (none) or more, not {limit}")
    write_json(_file(study, runs), {"limit": limit})


def forget_limit(study: str, runs: Path) -> None:
    """A study that starts afresh has the limit of its site profile."""
    _file(study, runs).unlink(missing_ok=True)


def shares(limit: int, sizes: Sequence[int]) -> list[int]:
    """The limit dealt out to arrays of these sizes, in proportion and to each at least 1; 0: no limit.

    Where there are more arrays than the limit allows, the sum is above it.
    """
    if not limit:
        return [0] * len(sizes)
    dealt = [1] * len(sizes)
    for _ in range(limit - len(sizes)):
        wants = [i for i, size in enumerate(sizes) if size > dealt[i]]
        if not wants:
            break
        dealt[max(wants, key=lambda i: sizes[i] / dealt[i])] += 1
    return dealt


def balance(study: str, runs: Path) -> dict[int, int]:
    """Deal the study's limit out to its arrays in the queue: job -> share.

    Raises SlurmError when Slurm does not answer or refuses.
    """
    submissions = read_submissions(runs, study)
    if not submissions:
        raise ValueError(f"study {study!r} was never submitted from {runs}; there is nothing to limit")
    limit = limit_of(study, runs, submissions[-1].site.array_throttle)
    alive = _alive(submissions)
    movable = {job: size for job, (size, pending) in alive.items() if pending}
    free = max(1, limit - sum(size for size, pending in alive.values() if not pending)) if limit else 0
    dealt = dict(zip(movable, shares(free, list(movable.values())), strict=True))
    for job, share in dealt.items():
        client.throttle(job, share)
    return dealt


def alive_sizes(submissions: Sequence[Submission]) -> list[int]:
    """How many tasks each array that is in the queue still has."""
    return [size for size, _ in _alive(submissions).values()]


def _alive(submissions: Sequence[Submission]) -> dict[int, tuple[int, int]]:
    """Arrays in the queue: job -> (tasks that are not over, those of them that may start from now on)."""
    found: dict[int, tuple[int, int]] = {}
    for job in client.queue([s.job_name for s in submissions]):
        if job.ended or (job.state == "PENDING" and job.reason == "Dependency"):
            continue
        size, pending = found.get(job.job, (0, 0))
        found[job.job] = (size + 1, pending + (job.state == "PENDING"))
    return found


def _file(study: str, runs: Path) -> Path:
    return submissions_folder(runs, study) / "throttle.json"
