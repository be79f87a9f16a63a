"""Child processes that a test starts and ends by process id, and free ports for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def wait_until(what: str, condition: Callable[[], object], seconds: float = 60, every: float = 0.2) -> None:
    """Poll until the condition holds. Raises TimeoutError saying what never came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(every)


def free_ports(count: int) -> list[int]:
    """TCP ports that nothing listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def fill(text: str, values: Mapping[str, object]) -> str:
    """Replace every ``@name@`` by its value."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


class Daemons:
    """Named foreground daemons, each with its output in ``<folder>/<name>.out``."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], seconds: float = 0.0) -> None:
        """Start a daemon in its own session, so that Ctrl-C reaches pytest first."""
        with (self.folder / f"{name}.out").open("ab") as output:
            self.running[name] = subprocess.Popen(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM, seconds: float = 15) -> None:
        """End a daemon: the signal, then SIGKILL when it has not ended in time."""
        process = self.running.pop(name)
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def dead(self) -> list[str]:
        """Daemons that ended on their own."""
        return [name for name, process in self.running.items() if process.poll() is not None]

    def stop_all(self) -> None:
        for name in reversed(list(self.running)):
            self.stop(name)


def processes_with(variable: str) -> list[int]:
    """Process ids, but for our own, that carry this ``NAME=value`` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # the process ended while we looked
            continue
        if variable.encode() in environment.split(b"\0") and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found
