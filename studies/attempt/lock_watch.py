"""A run that was taken from this process: its lock was set aside (slurm/rescue.py), another has a new one.

That happens when Slurm gave this process up for dead, its node having been out of touch. Two processes must
not write one record, so this one ends at once, without another word in it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from studies.attempt.stopping import LOCKED

log = logging.getLogger(__name__)

#: Seconds between two looks.
PERIOD = 20.0


def _end() -> None:
    log.error("another process has this run now; this one ends without touching it")
    os._exit(LOCKED)


@contextmanager
def watched(lock: Path, on_lost: Callable[[], None] = _end, period: float = PERIOD) -> Iterator[None]:
    """Look, while this process holds a lock, whether another file has taken its file's place.

    A file that is only gone, or that cannot be seen, is not another one: nobody else has the run then.
    """
    ours = lock.stat().st_ino
    over = threading.Event()

    def look() -> None:
        while not over.wait(period):
            try:
                present = lock.stat().st_ino
            except OSError:
                continue
            if present != ours:
                on_lost()
                return

    thread = threading.Thread(target=look, name="lock-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
