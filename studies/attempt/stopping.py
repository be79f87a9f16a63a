"""How a command ends, and how it is asked to."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

#: Exit statuses that the job script reads: done; ended by itself; another process has the run; a
#: checkpoint was written and the same command goes on.
FINISHED, FAILED, LOCKED, INTERRUPTED = 0, 1, 73, 75


class StopRequest:
    """Remembers that a signal asked to stop. Handlers only set a flag: signals come in bursts, and
    anything more inside a handler can crash.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGTERM, SIGUSR1 and SIGINT; a second Ctrl-C stops at once."""
        numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def or_told(stop: Callable[[], bool], order: Path, period: float = 1.0) -> Callable[[], bool]:
    """Whether ``stop``, or somebody left a file with the order to stop. period: seconds between two looks,
    for it is asked at every iteration and the file may be on a server.
    """
    looked = -period

    def should_stop() -> bool:
        nonlocal looked
        if stop():
            return True
        if time.monotonic() - looked < period:
            return False
        looked = time.monotonic()
        return order.exists()

    return should_stop
