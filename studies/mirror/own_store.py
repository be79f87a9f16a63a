"""The project's own store, a SQLite file: whole or absent, open to colleagues, moved with its folder.

mlflow creates some sixty tables in as many steps, straight in the file. Killed in between (a batch system may
do that at any moment) it leaves a file that every later process refuses. So the tables are made in a
file of another name, which gets its real one when it is whole.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

_PREFIX = "sqlite:///"
#: Seconds after which a half-made file that nobody touches is given up: creation writes every moment.
_QUIET = 10.0
#: Seconds that SQLite waits for another process's transaction.
_PATIENCE = 20.0
#: What SQLite may leave beside its file.
_SUFFIXES = ("", "-journal", "-wal", "-shm")


def store_file(uri: str) -> Path | None:
    """The file of a SQLite address; None for any other store."""
    if not uri.startswith(_PREFIX):
        return None
    path = uri.removeprefix(_PREFIX).partition("?")[0]
    return Path(path) if path and path != ":memory:" else None


def make_store(file: Path) -> None:
    """Create the store unless it is there; a half-made one is set aside. Call it under the store's lock."""
    while file.exists() and _is_half_made(file):
        if time.time() - _last_written(file) > _QUIET:
            _set_aside(file)
        else:
            time.sleep(0.2)  # mlflow itself, started by hand, may be making it at this moment
    if not file.exists():
        _create(file)


def follow_folder(file: Path, artifacts: Path) -> None:
    """Bring the artifact addresses of a copied or moved store to the folder where it is now.

    artifacts: the folder of all artifacts beside the store. Experiments whose artifacts are not there keep
    their addresses.
    """
    with closing(sqlite3.connect(file, timeout=_PATIENCE)) as connection, connection:
        rows = connection.execute("SELECT experiment_id, name, artifact_location FROM experiments").fetchall()
        for number, name, location in rows:
            here = artifacts / name
            if _is_elsewhere(location, here):
                connection.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                    (here.as_uri(), number),
                )
                connection.execute(
                    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                    "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                    (here.as_uri(), len(location) + 1, number, len(location) + 1, f"{location}/"),
                )


def _is_elsewhere(location: str, here: Path) -> bool:
    """Whether an address of ours names another folder than the one that is here."""
    then = Path(unquote(urlsplit(location).path))
    ours = location.startswith("file:") and then.parts[-2:] == here.parts[-2:]
    if not ours or not here.is_dir():
        return False
    return not (then.exists() and then.samefile(here))


def _is_half_made(file: Path) -> bool:
    """Whether mlflow was stopped in it: the last thing it makes is the experiment "Default"."""
    with closing(sqlite3.connect(file, timeout=_PATIENCE)) as connection:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'"
        if connection.execute(query).fetchone() is None:
            return True
        return connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is None


def _last_written(file: Path) -> float:
    found = [Path(f"{file}{suffix}") for suffix in _SUFFIXES]
    return max(path.stat().st_mtime for path in found if path.exists())


def _set_aside(file: Path) -> None:
    aside = file.with_name(f"{file.name}.half-made-{time.time_ns()}")
    for suffix in _SUFFIXES:
        path = Path(f"{file}{suffix}")
        if path.exists():
            path.replace(f"{aside}{suffix}")
    log.warning("%s was left half-made by a process that was killed; it is now %s", file, aside.name)


def _create(file: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for leftover in file.parent.glob(f".{file.name}.*.making*"):
        leftover.unlink()
    temporary = file.with_name(f".{file.name}.{os.getpid()}.making")
    temporary.touch()  # as the umask says; SQLite would make it 0644, closed to colleagues of the group
    store = SqlAlchemyStore(
        f"{_PREFIX}{temporary.resolve()}", f"{file.resolve().parent.as_uri()}/mlartifacts"
    )
    store.engine.dispose()
    temporary.replace(file)
