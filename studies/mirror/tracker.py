"""Mirror a run to MLflow while it trains, without ever getting in its way.

    tracker = start_tracking(folder, uri)   # after the attempt's start is in attempts.jsonl
    tracker.epoch(row)                      # after the row is in metrics.jsonl
    tracker.finish(result)                  # after result.json is written; or .fail(…), .interrupted()
    tracker.close()

The record is what is mirrored; these calls only say that it has grown. The work is done by a second
process (:mod:`studies.mirror.follower`), so nothing that MLflow does can slow, block or stop training
(docs/decisions/0060), and no call here raises. ``tracking.json`` says what was mirrored and what was not;
``python -m studies.sync`` sends the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from roadmap.record import RunFolder
from studies.mirror.state import read_state, write_pending
from studies.mirror.store import OFF, client_process, resolve_uri

#: Seconds that :meth:`Tracker.close` waits for the last figures and pictures to arrive.
CLOSE_TIMEOUT = 60.0
#: The same for an attempt that a signal stopped: the scheduler grants it little time.
INTERRUPTED_TIMEOUT = 15.0


def start_tracking(folder: RunFolder, uri: str | None = None) -> Tracker:
    """Start mirroring a run; never raises.

    uri: a tracking URI; None for ``MLFLOW_TRACKING_URI`` or else the SQLite file ``<runs>/mlflow.db``;
    ``off`` for no tracking.
    """
    target = resolve_uri(uri, folder.path.parent.parent)
    if target == OFF:
        return Tracker(folder, target, None)
    try:
        return Tracker(folder, target, _start_follower(folder, target))
    except OSError as error:
        tracker = Tracker(folder, target, None)
        tracker.lost(f"the mirroring process did not start: {error}")
        return tracker


class Tracker:
    """The training process's end of the mirror; see the module's docstring."""

    def __init__(self, folder: RunFolder, uri: str, follower: subprocess.Popen[bytes] | None) -> None:
        self._folder, self._uri, self._follower = folder, uri, follower
        self._ended = ""
        self._problem: str | None = None

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch's row is in metrics.jsonl."""
        self._tell({"event": "epoch", "epoch": row["epoch"]})

    def finish(self, _result: Mapping[str, Any]) -> None:
        """result.json is written."""
        self._end("finished")

    def fail(self, _failure: Mapping[str, Any]) -> None:
        """failure.json is written."""
        self._end("failed")

    def interrupted(self) -> None:
        """The attempt stops before its end, to be resumed."""
        self._end("interrupted")

    def close(self, timeout: float | None = None) -> str | None:
        """Wait for the rest to be mirrored, at most ``timeout`` seconds. Closing twice is harmless.

        timeout: None for :data:`CLOSE_TIMEOUT`, or :data:`INTERRUPTED_TIMEOUT` after an interruption.
        Returns a line that says what is not mirrored and why, None when all is well.
        """
        if timeout is None:
            timeout = INTERRUPTED_TIMEOUT if self._ended == "interrupted" else CLOSE_TIMEOUT
        if self._follower is not None:
            self._stop(timeout)
        if self._problem is not None:
            self._note(self._problem)
        return self._left_over()

    def lost(self, problem: str) -> None:
        """There is no mirroring process (any more); the record goes on without it."""
        self._follower, self._problem = None, problem
        self._note(problem)

    def _end(self, event: str) -> None:
        self._ended = event
        self._tell({"event": event})

    def _tell(self, event: Mapping[str, Any]) -> None:
        if self._follower is None:
            return
        assert self._follower.stdin is not None
        try:
            os.write(self._follower.stdin.fileno(), json.dumps(event).encode() + b"\n")
        except BlockingIOError:
            return  # thousands of hints are waiting; the record holds what they announce
        except OSError:
            self._stop(timeout=1.0)

    def _stop(self, timeout: float) -> None:
        follower, self._follower = self._follower, None
        assert follower is not None
        assert follower.stdin is not None
        follower.stdin.close()
        try:
            status = follower.wait(timeout)
        except subprocess.TimeoutExpired:
            follower.kill()
            follower.wait()
            self._problem = f"the mirroring process was not done {timeout:g} s after the end of the run"
        else:
            if status != 0:
                self.lost(f"the mirroring process ended with status {status}; see tracking.log")

    def _note(self, problem: str) -> None:
        try:
            write_pending(self._folder, self._uri, problem, ended=bool(self._ended))
        except (OSError, ValueError) as error:
            print(f"warning: cannot write tracking.json of {self._folder.name}: {error}", file=sys.stderr)

    def _left_over(self) -> str | None:
        if self._uri == OFF:
            return None
        try:
            state = read_state(self._folder)
        except (OSError, ValueError) as error:
            return f"cannot read tracking.json: {error}"
        if not state.get("error"):
            return None
        pending = ", ".join(state["pending"]) or "nothing"
        return (
            f"not mirrored to {state['uri']}: {pending} ({state['error']}); python -m studies.sync sends it"
        )


def _start_follower(folder: RunFolder, uri: str) -> subprocess.Popen[bytes]:
    with (folder.path / "tracking.log").open("ab") as log:
        follower = subprocess.Popen(
            [sys.executable, "-m", "studies.mirror.follower", str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=client_process(uri),
            # Out of the terminal's process group: Ctrl-C is for training, which then says how it ended.
            start_new_session=True,
        )
    assert follower.stdin is not None
    os.set_blocking(follower.stdin.fileno(), False)
    return follower
