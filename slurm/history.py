"""What is known of a task without Slurm: a line per event, written by array.sh and by those who steer.

start     an attempt began on a node
end       it ended with this exit status; why: the run's own word, a signal, or ``launch`` (never began)
progress  the attempt finished an epoch or wrote a checkpoint
idle      it did neither
requeue   the script puts the task back in the queue; why: locked or killed
over      the script does not bring the task back; why, unless the status says it
cancel    a person cancelled the task
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from roadmap.record import now

#: What ``end`` says of a script that did not get as far as the run's own record.
LAUNCH = "launch"


@dataclass(frozen=True)
class Event:
    """A line of a task's history. time: ISO 8601, UTC. restart: Slurm's count. status: exit status so far."""

    time: str
    job: str
    node: str
    restart: int
    event: str
    status: int
    why: str


def read_history(path: Path) -> list[Event]:
    """Events in order; lines torn by a full disk are passed over, an absent file is empty."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        parts = line.split("\t")
        if len(parts) == 7 and parts[3].isdigit() and parts[5].isdigit():
            time, job, node, restart, event, status, why = parts
            events.append(Event(time, job, node, int(restart), event, int(status), why))
    return events


def remember_cancellation(path: Path, job: str, who: str) -> None:
    """Note that a person cancelled a task, for Slurm forgets it. Where we may not write, nothing is noted."""
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(f"{now()}\t{job}\t\t0\tcancel\t0\t{who}\n")


def cancellation(events: Sequence[Event]) -> Event | None:
    """The cancellation after which the task was not started again."""
    return next((e for e in _of_latest_attempt(events) if e.event == "cancel"), None)


def latest_end(events: Sequence[Event]) -> Event | None:
    """How the latest attempt ended; None while it has not, as far as its script knows."""
    return next((e for e in _of_latest_attempt(events) if e.event == "end"), None)


def surrender(events: Sequence[Event]) -> Event | None:
    """Where the script said that it does not bring the task back."""
    return next((e for e in _of_latest_attempt(events) if e.event == "over"), None)


def is_over(events: Sequence[Event]) -> bool:
    """Whether nothing will start the task again for certain, whatever Slurm says or hides."""
    end = latest_end(events)
    launched = end is None or end.why != LAUNCH
    return not launched or surrender(events) is not None or cancellation(events) is not None


def _of_latest_attempt(events: Sequence[Event]) -> list[Event]:
    """The latest start and what follows."""
    starts = [i for i, event in enumerate(events) if event.event == "start"]
    return list(events[starts[-1] :] if starts else events)
