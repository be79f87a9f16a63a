"""The project's own MLflow store: whole or absent, open to colleagues, at home wherever its folder is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from studies.mirror.mirror import RecordMirror
from studies.mirror.own_store import follow_folder, make_store, store_file
from studies.mirror.store import client_process, connect, default_uri
from tests.studies.tracking_servers import open_store, runs_of
from tests.studies.tracking_standin import write_result, write_start

# mlflow itself still calls what SQLAlchemy, alembic and others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CREATE = (
    "import sys; from pathlib import Path; from studies.mirror.store import connect, default_uri; "
    "runs = Path(sys.argv[1]); connect(default_uri(runs), runs)"
)


def tables(file: Path) -> int:
    """How many tables a file has that another process may be writing; 0 when it can't be asked now."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.Error:
        return 0


def kill_while_it_creates(runs: Path) -> None:
    """Start a process that creates the store, and kill it when some of the tables are there."""
    process = subprocess.Popen(
        [sys.executable, "-c", CREATE, str(runs)], env=client_process(default_uri(runs))
    )
    try:
        while process.poll() is None and not any(tables(file) >= 5 for file in runs.glob("*mlflow.db*")):
            time.sleep(0.001)
        assert process.poll() is None, "the store was finished before it could be killed"
    finally:
        process.kill()
        process.wait()


def test_a_store_whose_creation_was_killed_is_simply_created_again(tmp_path: Path) -> None:
    kill_while_it_creates(tmp_path)
    assert not (tmp_path / "mlflow.db").exists()
    client = connect(default_uri(tmp_path), tmp_path)
    assert client.create_experiment("roadmap")
    assert [path.name for path in tmp_path.glob("*mlflow.db*")] == ["mlflow.db"]


def half_made(file: Path, age: float) -> None:
    """What mlflow leaves when it is killed after its first tables; untouched for ``age`` seconds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.commit()
    os.utime(file, (time.time() - age,) * 2)


def test_a_half_made_store_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    half_made(tmp_path / "mlflow.db", age=3600)
    assert connect(default_uri(tmp_path), tmp_path).create_experiment("roadmap")
    (aside,) = tmp_path.glob("mlflow.db.half-made-*")
    assert tables(aside) == 2
    assert f"{tmp_path / 'mlflow.db'} was left half-made" in caplog.text


def test_a_store_that_is_being_made_by_somebody_else_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mlflow.db"
    half_made(file, age=0)

    def finish(_seconds: float) -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("INSERT INTO experiments VALUES (0, 'Default')")
            connection.commit()

    monkeypatch.setattr(time, "sleep", finish)
    make_store(file)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_store_with_experiments_is_never_set_aside(tmp_path: Path) -> None:
    open_store(tmp_path)
    before = (tmp_path / "mlflow.db").stat().st_ino
    make_store(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").stat().st_ino == before


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_the_store_is_as_open_as_the_umask_says(
    tmp_path: Path, umask: int, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_two_tables(uri: str, _root: str) -> object:
        file = store_file(uri)
        assert file is not None
        half_made(file, age=0)
        return type("Store", (), {"engine": type("Engine", (), {"dispose": staticmethod(lambda: None)})})

    # SQLite decides the mode, not mlflow: sixty tables more would show nothing.
    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", make_two_tables)
    before = os.umask(umask)
    try:
        make_store(tmp_path / "mlflow.db")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mlflow.db").stat().st_mode) == mode


def finished(runs: Path) -> None:
    """A mirrored run below ``runs``, in its own store."""
    folder = write_start(runs, "simota", 0)
    (folder.path / "metrics.jsonl").write_text("")
    write_result(folder, 4)
    client, uri = open_store(runs)
    RecordMirror(client, uri, folder).push()


@pytest.mark.parametrize("moved", [False, True])
def test_a_copied_folder_of_runs_has_its_own_artifacts(tmp_path: Path, moved: bool) -> None:
    finished(tmp_path / "a folder")
    there = tmp_path / "another folder"
    (shutil.move if moved else shutil.copytree)(tmp_path / "a folder", there)
    client = connect(default_uri(there), there)
    (run,) = runs_of(client, "run")
    assert run.info.artifact_uri.startswith((there / "mlartifacts" / "roadmap").as_uri())
    assert "result.json" in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert client.get_experiment_by_name("roadmap").artifact_location == (
        (there / "mlartifacts" / "roadmap").as_uri()
    )


def test_a_folder_of_runs_seen_under_a_second_name_keeps_its_addresses(tmp_path: Path) -> None:
    finished(tmp_path / "runs")
    # A second mount of the same folder; a plain symbolic link would be resolved.
    file = tmp_path / "runs" / "mlflow.db"
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "mlartifacts").symlink_to(tmp_path / "runs" / "mlartifacts")
    before = file.read_bytes()
    follow_folder(file, tmp_path / "second" / "mlartifacts")
    assert file.read_bytes() == before


def test_a_store_copied_without_its_artifacts_keeps_its_addresses(tmp_path: Path) -> None:
    finished(tmp_path / "runs")
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "runs" / "mlflow.db", tmp_path / "copy")
    (run,) = runs_of(connect(default_uri(tmp_path / "copy"), tmp_path / "copy"), "run")
    assert run.info.artifact_uri.startswith((tmp_path / "runs").as_uri())


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////data/runs/mlflow.db", Path("/data/runs/mlflow.db")),
        ("sqlite:///runs/mlflow.db?timeout=5", Path("runs/mlflow.db")),
        ("sqlite:///:memory:", None),
        ("http://tracking:5000", None),
        ("postgresql://db/mlflow", None),
    ],
)
def test_the_file_of_an_address(uri: str, file: Path | None) -> None:
    assert store_file(uri) == file
