"""Replaying records into a tracking server: complete, and nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from roadmap.record import RunFolder, append_line, read_json
from studies.mirror.layout import read_view
from studies.sync import main
from tests.studies.tracking_servers import (
    a_port,
    everything,
    mlflow_server,
    new_store,
    open_store,
    points_of,
    runs_of,
)
from tests.studies.tracking_standin import epoch_row, write_result, write_start

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_uri_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def record(runs: Path, stage: str, seed: int, epochs: int, finish: bool = True) -> RunFolder:
    folder = write_start(runs, stage, seed)
    for epoch in range(1, epochs + 1):
        append_line(folder.path / "metrics.jsonl", epoch_row(epoch, stage))
    if finish:
        write_result(folder, epochs)
    return folder


def outcomes(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status and outcome by run of ``python -m studies.sync --json``."""
    capsys.readouterr()
    status = main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    return status, {entry["run"]: entry for entry in document["runs"]}


def test_everything_is_mirrored_and_a_second_time_adds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, _ = open_store(tmp_path)
    folders = [record(tmp_path, stage, seed, 8) for stage in ("baseline", "simota") for seed in (0, 1)]
    killed = record(tmp_path, "anchor-free", 0, 3, finish=False)
    report = tmp_path / "roadmap" / "report"
    (report / "figures").mkdir(parents=True)
    (report / "report.md").write_text("# Report")
    (report / "figures" / "roadmap.svg").write_text("<svg/>")

    status, first = outcomes(capsys, "--runs", str(tmp_path))
    assert status == 0
    assert {entry["outcome"] for entry in first.values()} == {"mirrored"}
    assert first.keys() == {f.name for f in (*folders, killed)} | {"report"}
    for folder, run in zip(
        sorted((killed, *folders), key=lambda f: f.name), runs_of(client, "run"), strict=True
    ):
        expected = {(p.key, p.step, p.value) for p in read_view(folder).points}
        assert points_of(client, run) == dict.fromkeys(expected, 1)
        assert run.info.status == ("KILLED" if folder == killed else "FINISHED")
        state = read_json(folder.path / "tracking.json")
        assert (state["run_id"], state["pending"], state["error"]) == (run.info.run_id, [], None)
    (attached,) = runs_of(client, "report")
    assert [f.path for f in client.list_artifacts(attached.info.run_id)] == ["figures", "report.md"]

    before = everything(client)
    status, second = outcomes(capsys, "--runs", str(tmp_path))
    assert status == 0
    assert {entry["outcome"] for entry in second.values()} == {"up to date"}
    assert everything(client) == before


def test_a_run_left_running_by_a_kill_is_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from studies.mirror.mirror import RecordMirror

    client, uri = open_store(tmp_path)
    folder = record(tmp_path, "simota", 0, 3, finish=False)
    RecordMirror(client, uri, folder).push(alive=True)  # and then the whole node went down
    assert runs_of(client, "run")[0].info.status == "RUNNING"
    outcomes(capsys, "--runs", str(tmp_path))
    assert runs_of(client, "run")[0].info.status == "KILLED"


def test_a_run_that_is_training_stays_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = open_store(tmp_path)
    folder = record(tmp_path, "simota", 0, 3, finish=False)
    with folder.lock():
        outcomes(capsys, "--runs", str(tmp_path))
        append_line(folder.path / "metrics.jsonl", epoch_row(4))
        status, again = outcomes(capsys, "--runs", str(tmp_path))
    assert status == 0
    assert again[folder.name]["outcome"] == "mirrored"
    (run,) = runs_of(client, "run")
    assert run.info.status == "RUNNING"
    assert points_of(client, run)["train/loss", 4, epoch_row(4)["loss"]] == 1


def test_only_one_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = open_store(tmp_path)
    record(tmp_path, "simota", 0, 1)
    _, found = outcomes(capsys, "--runs", str(tmp_path), "--study", "head")
    assert found == {}
    assert client.get_experiment_by_name("roadmap") is None


def test_another_server_gets_everything_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "runs", "simota", 0, 4)
    first, uri = open_store(tmp_path / "one")
    second, other = open_store(tmp_path / "two")
    for target in (uri, other, uri, other):
        status, _ = outcomes(capsys, "--runs", str(tmp_path / "runs"), "--uri", target)
        assert status == 0
    (here,), (there,) = runs_of(first, "run"), runs_of(second, "run")
    assert points_of(first, here) == points_of(second, there)


def test_a_run_that_was_deleted_in_mlflow_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, _ = open_store(tmp_path)
    record(tmp_path, "simota", 0, 4)
    outcomes(capsys, "--runs", str(tmp_path))
    (deleted,) = runs_of(client, "run")
    client.delete_run(deleted.info.run_id)
    outcomes(capsys, "--runs", str(tmp_path))
    (run,) = runs_of(client, "run")
    assert run.info.run_id != deleted.info.run_id
    assert points_of(client, run) == points_of(client, deleted)


def test_a_changed_report_is_sent_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = open_store(tmp_path)
    record(tmp_path, "simota", 0, 1)
    report = tmp_path / "roadmap" / "report" / "report.md"
    report.parent.mkdir()
    found = []
    for text in ("one", "one", "three"):
        report.write_text(text)
        found.append(outcomes(capsys, "--runs", str(tmp_path))[1]["report"]["outcome"])
    assert found == ["mirrored", "up to date", "mirrored"]
    (run,) = runs_of(client, "report")
    assert [f.file_size for f in client.list_artifacts(run.info.run_id)] == [5]


def test_a_broken_record_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = open_store(tmp_path)
    good = [record(tmp_path, "baseline", 0, 1), record(tmp_path, "simota", 0, 1)]
    bad = [record(tmp_path, stage, 0, 1) for stage in ("anchor-free", "multi-positives", "nms-free")]
    (bad[0].path / "recipe.json").write_text("{")
    (bad[1].path / "attempts.jsonl").write_text("")
    append_line(bad[2].path / "metrics.jsonl", {"no": "epoch"})
    status, found = outcomes(capsys, "--runs", str(tmp_path))
    assert status == 1
    assert [found[f.name]["outcome"] for f in good] == ["mirrored"] * 2
    assert [found[f.name]["outcome"] for f in bad] == ["failed"] * 3
    assert "recipe.json is not valid JSON" in found[bad[0].name]["error"]
    assert len(runs_of(client, "run")) == 2


def test_an_unreachable_server_ends_it_quickly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [record(tmp_path, "simota", seed, 2) for seed in range(6)]
    started = time.monotonic()
    uri = f"http://me:hunter2@127.0.0.1:{a_port()}"
    status, found = outcomes(capsys, "--runs", str(tmp_path), "--uri", uri)
    assert status == 1
    assert time.monotonic() - started < 60
    assert [found[f.name]["outcome"] for f in folders] == ["failed"] * 3 + ["not tried"] * 3
    assert "hunter2" not in json.dumps(found)
    assert read_json(folders[0].path / "tracking.json")["pending"] == ["epochs 1 to 2", "result"]


def test_tracking_off_and_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", str(tmp_path), "--uri", "off"]) == 2
    assert "give --uri" in capsys.readouterr().err
    new_store(tmp_path)
    assert main(["--runs", str(tmp_path)]) == 0
    assert "no run records" in capsys.readouterr().out


def test_help_waits_for_no_heavy_import() -> None:
    code = "import sys; from studies.sync import _parser; _parser(); print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "mlflow" not in modules
    assert "torch" not in modules
    assert "numpy" not in modules


@pytest.mark.slow
def test_to_a_server_with_artifacts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records of compute nodes without network, sent from a login node."""
    from studies.mirror.store import connect

    runs = tmp_path / "runs"
    folders = [record(runs, "simota", seed, 4) for seed in range(2)]
    with mlflow_server(tmp_path / "server", a_port()) as address:
        status, _ = outcomes(capsys, "--runs", str(runs), "--uri", address)
        assert status == 0
        client = connect(address, runs)
        before = everything(client)
        for run, folder in zip(runs_of(client, "run"), folders, strict=True):
            copy = client.download_artifacts(run.info.run_id, "result.json", str(tmp_path))
            assert Path(copy).read_bytes() == (folder.path / "result.json").read_bytes()
        status, again = outcomes(capsys, "--runs", str(runs), "--uri", address)
        assert status == 0
        assert {entry["outcome"] for entry in again.values()} == {"up to date"}
        assert everything(client) == before
    assert not (runs / "mlartifacts").exists()  # the server has them
