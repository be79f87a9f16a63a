"""A search whose storage is a real PostgreSQL server, lost in between."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studies.search_bench import Bench, new_search


def _program(name: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(versions[-1]) if versions else shutil.which(name)


def _account() -> str | None:
    """The account that runs the server, which refuses root; None for our own."""
    return "postgres" if os.geteuid() == 0 else None


class Server:
    """A database server in a folder of its own, on a port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.url = f"postgresql://optuna@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        command = [_program("initdb"), "-D", self.data, "-U", "optuna", "--auth=trust", "--no-sync"]
        subprocess.run(
            [str(word) for word in command], user=_account(), cwd=self.folder, check=True, capture_output=True
        )

    def start(self) -> None:
        where = ["-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder), "-F"]
        program = _program("postgres")
        assert program is not None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *where], user=_account(), cwd=self.folder, stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg")
    if not _program("initdb") or not _program("postgres"):
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    if _account() is not None and not any(entry.pw_name == _account() for entry in pwd.getpwall()):
        pytest.skip("no account that could run a PostgreSQL server")
    with tempfile.TemporaryDirectory(prefix="yolox-postgres-") as name:
        Path(name).chmod(0o777)
        made = Server(Path(name))
        made.make()
        made.start()
        try:
            yield made
        finally:
            made.stop()


def test_a_search_goes_on_without_its_server_and_fills_it_when_it_is_back(
    server: Server, tmp_path: Path
) -> None:
    import optuna

    folder = tmp_path / "runs" / "bench"
    bench = Bench(folder.parent)
    assert bench.step(folder, new_search(best=0, at_once=3), server.url).said == ()
    server.stop()
    for run in list(bench.waiting):
        bench.carry_out(run)
    (said,) = bench.step(folder, storage=server.url).said
    assert "Connection refused" in said
    assert "optuna@" not in said
    assert len(bench.waiting) == 3
    server.start()
    record = bench.steps(folder, storage=server.url)
    study = optuna.load_study(study_name="bench", storage=server.url)
    assert [(t.number, t.params, t.value) for t in study.trials] == [
        (t.number, t.parameters, t.values[0]) for t in record.trials if t.values
    ]
    assert len(study.trials) == 6
    study._storage.remove_session()
    study._storage._backend.engine.dispose()
