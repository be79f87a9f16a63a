"""Another account, for tests that run as root: a child process without root's rights calls the command."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from slurm.__main__ import main

#: nobody: an account that every machine has, and that owns nothing.
NOBODY = 65534


class Answer(NamedTuple):
    """Exit status, -1 for a traceback, and what was printed."""

    status: int
    out: str
    err: str


def call_as_nobody(
    arguments: Sequence[str], command: Callable[[Sequence[str]], int] = main, umask: int = 0o022
) -> Answer:
    """``python -m slurm``, or another command, in a process of the account nobody."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=_child, args=(theirs, command, list(arguments), umask)
    )
    child.start()
    answer: Answer = ours.recv()
    child.join()
    return answer


def _child(
    answers: Connection, command: Callable[[Sequence[str]], int], arguments: list[str], umask: int
) -> None:
    os.umask(umask)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command(arguments)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
            status = -1
    answers.send(Answer(status, out.getvalue(), err.getvalue()))
