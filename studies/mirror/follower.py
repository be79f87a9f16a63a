"""The process that mirrors one run to MLflow while it trains: python -m studies.mirror.follower FOLDER

Started by :mod:`studies.mirror.tracker`. It is a process and not a thread, so that a slow import, a hanging
request or a crash inside a client library cannot take time from training (docs/decisions/0060). It reads
the record, and from its standard input only the hint that the record has grown; the end of that stream
means that the training process has closed it or died.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from roadmap.record import RunFolder
from roadmap.redaction import without_secrets
from studies.mirror.mirror import RecordMirror
from studies.mirror.pictures import write_validation_picture
from studies.mirror.state import write_mirrored, write_pending
from studies.mirror.store import connect, public_message
from studies.mirror.system import SystemSampler

#: Seconds: between looks at the clock, and the pauses after failures.
_TICK, _FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 1.0, 60.0


class Follower:
    """Mirrors a record until told that it has ended.

    ended: how the attempt ended (``finished``, ``failed``, ``interrupted``, ``gone``), empty while it lasts.
    """

    def __init__(self, folder: RunFolder, uri: str) -> None:
        self._folder, self._uri = folder, uri
        self._runs = folder.path.parent.parent
        self._mirror: RecordMirror | None = None
        self._dirty, self._pause, self._next = True, _FIRST_PAUSE, 0.0
        self._error = ""
        self.ended = ""

    def look_again(self) -> None:
        """The record has grown."""
        self._dirty = True

    def work(self) -> None:
        """Mirror if there is something to mirror and the last failure is long enough ago."""
        if self._dirty and time.monotonic() >= self._next:
            self.attempt()

    def attempt(self) -> bool:
        """Mirror now; returns whether MLflow has everything. Failures are written to tracking.json."""
        self._dirty = False
        try:
            if self._mirror is None:
                self._mirror = RecordMirror(connect(self._uri, self._runs), self._uri, self._folder)
            if self.ended == "finished":
                write_validation_picture(self._folder)
            run_id, view = self._mirror.push(alive=not self.ended, failed=self.ended == "failed")
            write_mirrored(self._folder, self._uri, run_id, view)
        except Exception as error:  # whatever a tracking server does, it is written down and tried again
            self._dirty, self._next = True, time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._report(error)
            return False
        self._pause = _FIRST_PAUSE
        self._error = ""
        return True

    def _report(self, error: Exception) -> None:
        message = public_message(error, self._uri)
        try:
            write_pending(self._folder, self._uri, message, ended=bool(self.ended))
        except (OSError, ValueError) as second:  # a full disk; training writes to the same one
            _say(f"tracking.json not written: {second}")
        if message != self._error:  # a server that is away for a day would fill the disk with tracebacks
            _say("".join(traceback.format_exception(error)))
        self._error = message


def main() -> None:
    """Follow the record in argv[1] until standard input ends."""
    os.nice(10)
    # The scheduler's and the terminal's signals are for the training process, which tells us how it ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder, uri = RunFolder(Path(sys.argv[1]).resolve()), os.environ["MLFLOW_TRACKING_URI"]
    # tracking.log: what mlflow and the libraries below it print is not in our hands.
    sys.stdout = sys.stderr = _Public(sys.stderr, uri)
    follower = Follower(folder, uri)
    sampler = SystemSampler(folder, os.getppid())
    events = _Events(os.getppid())
    while not events.over:
        for event in events.wait(_TICK):
            if event["event"] == "epoch":
                _sample_epoch(sampler, event["epoch"])
            else:
                follower.ended = event["event"]
            follower.look_again()
        sampler.sample()
        follower.work()
    follower.ended = follower.ended or "gone"
    # A second try, for a database that was locked; a server that is away will be away a second later too.
    if not follower.attempt():
        time.sleep(_FIRST_PAUSE)
        follower.attempt()


def _sample_epoch(sampler: SystemSampler, epoch: int) -> None:
    try:
        sampler.write(epoch)
    except OSError as error:
        _say(f"system.jsonl lacks epoch {epoch}: {error}")


def _say(text: str) -> None:
    """Write to tracking.log; a disk that is too full for that must not end the mirroring."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class _Public(io.TextIOBase):
    """A stream that loses the credentials of an address."""

    def __init__(self, stream: TextIO, uri: str) -> None:
        self._stream, self._uri = stream, uri

    def write(self, text: str) -> int:
        self._stream.write(without_secrets(text, self._uri))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class _Events:
    """JSON lines from standard input; over when the stream ends or the parent process is gone."""

    def __init__(self, parent: int) -> None:
        self._parent, self._rest, self.over = parent, b"", False

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Events that have arrived, after at most ``seconds``."""
        if not select.select([0], [], [], seconds)[0]:
            # Workers forked by the parent keep the stream open for a while after its death.
            self.over = os.getppid() != self._parent
            return []
        chunk = os.read(0, 65536)
        self.over = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
