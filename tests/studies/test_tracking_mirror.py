"""One record, one MLflow run: layout, resumption and doing it again, on a real SQLite store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from reports.judging.statistics import t_interval
from roadmap.record import RunFolder, append_line, write_json
from studies.mirror.groups import find_runs
from studies.mirror.layout import read_view
from studies.mirror.mirror import RecordMirror
from tests.studies.tracking_servers import everything, experiment_id, open_store, points_of, runs_of
from tests.studies.tracking_standin import epoch_row, write_result, write_start

# mlflow itself still calls what SQLAlchemy, alembic and others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def train(runs: Path, stage: str, seed: int, epochs: int, finish: bool = True, **facts: Any) -> RunFolder:
    """A record up to an epoch; goes on where the record stands. facts: of the attempt."""
    folder = write_start(runs, stage, seed, **facts)
    done = max((row["epoch"] for row in folder.metrics()), default=0)
    for epoch in range(done + 1, epochs + 1):
        append_line(folder.path / "metrics.jsonl", epoch_row(epoch, stage))
    if finish:
        write_result(folder, epochs)
    return folder


def recorded(folder: RunFolder) -> set[tuple[str, int, float]]:
    return {(p.key, p.step, p.value) for p in read_view(folder).points}


def test_a_finished_record(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 3, epochs=8)
    (folder.path / "validation.jpg").write_bytes(b"a picture")
    append_line(folder.path / "system.jsonl", {"epoch": 8, "cpu_utilization_percentage": 93.5})
    run_id, view = RecordMirror(client, uri, folder).push()

    (run,) = runs_of(client, "run")
    (stage,) = runs_of(client, "stage")
    assert run.info.run_id == run_id
    assert run.info.run_name == folder.name
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", view.start, view.end)
    assert run.data.params == view.params
    assert view.tags.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.parentRunId"] == stage.info.run_id
    assert points_of(client, run) == dict.fromkeys(recorded(folder), 1)
    assert run.data.metrics["AP"] == view_value(folder, "AP")

    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("embedded-shapes", "0123456789abcdef" * 2)
    names = {f.path for f in client.list_artifacts(run_id)}
    assert names == {"recipe.json", "environment.json", "metrics.jsonl", "result.json", "validation.jpg"}
    assert stage.info.run_name == "simota"
    assert stage.info.status == "FINISHED"
    assert "seed" not in stage.data.params
    assert stage.data.params.items() <= run.data.params.items()
    assert client.get_experiment(experiment_id(client)).name == "roadmap"


def view_value(folder: RunFolder, key: str) -> float:
    (value,) = [p.value for p in read_view(folder).points if p.key == key]
    return value


def test_a_second_push_adds_nothing(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=8)
    mirror = RecordMirror(client, uri, folder)
    mirror.push()
    before = everything(client)
    mirror.push()
    RecordMirror(client, uri, folder).push()  # another process, which knows nothing of the first
    assert everything(client) == before


def test_epoch_by_epoch_is_the_same_as_all_at_once(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path / "a")
    folder = write_start(tmp_path / "a", "simota", 0, time="2026-01-01T00:00:00+00:00")
    mirror = RecordMirror(client, uri, folder)
    for epoch in range(1, 9):
        append_line(folder.path / "metrics.jsonl", epoch_row(epoch))
        mirror.push(alive=True)
    assert runs_of(client, "run")[0].info.status == "RUNNING"
    write_result(folder, 8, finished="2026-01-01T00:10:00+00:00")
    mirror.push(alive=False)

    other, other_uri = open_store(tmp_path / "b")
    RecordMirror(other, other_uri, folder).push()
    (live,), (later,) = runs_of(client, "run"), runs_of(other, "run")
    assert points_of(client, live) == points_of(other, later)
    assert live.info.end_time == later.info.end_time
    kept = live.data.tags.keys() - {"mlflow.parentRunId"}
    assert {k: live.data.tags[k] for k in kept} == {k: later.data.tags[k] for k in kept}


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=5, finish=False, slurm_job="100")
    RecordMirror(client, uri, folder).push(alive=False)
    (killed,) = runs_of(client, "run")
    assert killed.info.status == "KILLED"
    assert killed.data.tags["attempt"] == "1"

    # The resumed attempt starts from a checkpoint before epoch 5, and does that epoch again, a bit slower.
    folder = write_start(tmp_path, "simota", 0, slurm_job="101")
    mirror = RecordMirror(client, uri, folder)
    mirror.push(alive=True)
    assert runs_of(client, "run")[0].info.status == "RUNNING"
    append_line(folder.path / "metrics.jsonl", {**epoch_row(5), "seconds": 0.75})
    mirror.push(alive=True)
    assert runs_of(client, "run")[0].data.tags["slurm_job"] == "101"
    train(tmp_path, "simota", 0, epochs=8)  # a third attempt, outside Slurm
    mirror.push(alive=False)
    (run,) = runs_of(client, "run")
    assert run.info.run_id == killed.info.run_id
    assert run.info.status == "FINISHED"
    assert run.data.tags["attempt"] == "3"
    assert "slurm_job" not in run.data.tags
    steps = [(key, step) for key, step, _ in points_of(client, run).elements()]
    assert len(steps) == len(set(steps))
    assert sorted(step for key, step in steps if key == "train/loss") == list(range(1, 9))


@pytest.mark.parametrize("failure", [False, True])
def test_status_of_a_run_that_did_not_finish(tmp_path: Path, failure: bool) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=2, finish=False)
    mirror = RecordMirror(client, uri, folder)
    mirror.push(alive=True)
    if failure:
        write_json(folder.path / "failure.json", {"kind": "error", "message": "no space left", "attempt": 1})
    mirror.push()
    (run,) = runs_of(client, "run")
    assert run.info.status == ("FAILED" if failure else "KILLED")
    assert run.info.end_time is not None
    assert ("failure.json" in {f.path for f in client.list_artifacts(run.info.run_id)}) == failure


def test_a_run_started_anew_is_a_new_mlflow_run(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=4, time="2026-01-01T00:00:00+00:00")
    RecordMirror(client, uri, folder).push()
    for name in ("result.json", "metrics.jsonl", "attempts.jsonl"):
        (folder.path / name).unlink()
    folder = train(tmp_path, "simota", 0, epochs=8, time="2026-01-02T00:00:00+00:00")
    RecordMirror(client, uri, folder).push()
    first, second = sorted(runs_of(client, "run"), key=lambda run: run.info.start_time)
    assert first.data.tags["run"] == second.data.tags["run"]
    assert points_of(client, second) == dict.fromkeys(recorded(folder), 1)
    (stage,) = runs_of(client, "stage")
    assert stage.data.metrics["seeds"] == 1  # of a seed that was trained twice the later one counts
    assert stage.data.metrics["AP"] == second.data.metrics["AP"]


def test_a_stage_holds_mean_and_interval_over_its_finished_seeds(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    aps = {0: 20.0, 1: 24.0, 2: 25.0}
    for seed, ap in aps.items():
        folder = train(tmp_path, "simota", seed, epochs=4)
        result = write_result(folder, 4)
        write_json(folder.path / "result.json", {**result, "best": {**result["best"], "AP": ap}})
        RecordMirror(client, uri, folder).push()
    RecordMirror(client, uri, train(tmp_path, "simota", 3, epochs=2, finish=False)).push(alive=True)
    (stage,) = runs_of(client, "stage")
    interval = t_interval(list(aps.values()))
    assert interval is not None
    assert stage.data.metrics["AP"] == 23.0
    assert (stage.data.metrics["AP_low"], stage.data.metrics["AP_high"]) == (interval.low, interval.high)
    assert stage.data.metrics["seeds"] == 3
    assert stage.data.metrics["params_m"] == pytest.approx(1.56, rel=1e-12)
    assert "APs" not in stage.data.metrics  # undefined for every seed
    history = client.get_metric_history(stage.info.run_id, "AP")
    assert [(m.step, m.value) for m in history] == [(1, 20.0), (2, 22.0), (3, 23.0)]
    children = find_runs(client, experiment_id(client), **{"mlflow.parentRunId": stage.info.run_id})
    assert len(children) == 4


def test_no_interval_from_one_seed(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    RecordMirror(client, uri, train(tmp_path, "simota", 0, epochs=4)).push()
    (stage,) = runs_of(client, "stage")
    assert not stage.data.metrics.keys() & {"AP_low", "AP_high"}


def test_runs_created_twice_by_processes_that_do_not_share_a_folder_become_one(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=4)
    RecordMirror(client, uri, folder).push()
    (stage,), (run,) = runs_of(client, "stage"), runs_of(client, "run")
    # What another process would have created in the same instant:
    second = client.create_run(run.info.experiment_id, stage.info.start_time + 1, stage.data.tags, "simota")
    client.create_run(run.info.experiment_id, run.info.start_time + 1, run.data.tags, folder.name)
    other = train(tmp_path, "simota", 1, epochs=4)
    tags = {**read_view(other).tags, "kind": "run", "record": read_view(other).record}
    tags["mlflow.parentRunId"] = second.info.run_id
    client.create_run(run.info.experiment_id, 1, tags, other.name)

    append_line(folder.path / "metrics.jsonl", epoch_row(5))
    for record in (folder, other):
        RecordMirror(client, uri, record).push()
    assert [r.info.run_id for r in runs_of(client, "stage")] == [stage.info.run_id]
    seeds = runs_of(client, "run")
    assert [r.info.run_name for r in seeds] == [folder.name, other.name]
    assert seeds[0].info.run_id == run.info.run_id
    assert {r.data.tags["mlflow.parentRunId"] for r in seeds} == {stage.info.run_id}


def test_many_at_once_create_every_run_once(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folders = [train(tmp_path, stage, seed, 4) for stage in ("baseline", "simota") for seed in range(2)]
    errors: list[Exception] = []

    def push(folder: RunFolder) -> None:
        try:
            RecordMirror(client, uri, folder).push()
        except Exception as error:
            errors.append(error)

    # Every record from two threads, as a live tracker and a sync would do.
    threads = [threading.Thread(target=push, args=(folder,)) for folder in folders * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [r.info.run_name for r in runs_of(client, "run")] == sorted(f.name for f in folders)
    assert [r.info.run_name for r in runs_of(client, "stage")] == ["baseline", "simota"]
    for run, folder in zip(runs_of(client, "run"), sorted(folders, key=lambda f: f.name), strict=True):
        assert points_of(client, run) == dict.fromkeys(recorded(folder), 1)
    for stage in runs_of(client, "stage"):
        assert stage.data.metrics["seeds"] == 2


def test_a_long_run_takes_more_than_one_request(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=300)
    assert len(read_view(folder).points) > 2000  # mlflow takes 1000 metrics at a time
    RecordMirror(client, uri, folder).push()
    (run,) = runs_of(client, "run")
    assert points_of(client, run) == dict.fromkeys(recorded(folder), 1)


def test_a_deleted_experiment_is_named_with_the_remedy(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=4)
    RecordMirror(client, uri, folder).push()
    client.delete_experiment(experiment_id(client))
    with pytest.raises(ValueError, match="mlflow experiments restore"):
        RecordMirror(client, uri, folder).push()


def test_an_arms_run_has_colour_and_description_and_keeps_what_a_user_changes(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=4)
    RecordMirror(client, uri, folder).push()
    (arm,), (run,) = runs_of(client, "stage"), runs_of(client, "run")
    assert arm.data.tags["mlflow.note.content"] == read_view(folder).arm_note
    assert arm.data.tags["mlflow.runColor"] == run.data.tags["mlflow.runColor"]
    client.set_tag(arm.info.run_id, "mlflow.note.content", "the one that went wrong")
    client.delete_tag(arm.info.run_id, "mlflow.runColor")  # as in stores of earlier versions
    RecordMirror(client, uri, train(tmp_path, "simota", 1, epochs=4)).push()
    (arm,) = runs_of(client, "stage")
    assert arm.data.tags["mlflow.note.content"] == "the one that went wrong"
    assert arm.data.tags["mlflow.runColor"] == run.data.tags["mlflow.runColor"]


def test_artifacts_of_earlier_versions_lose_their_passwords(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    folder = train(tmp_path, "simota", 0, epochs=4)
    environment = folder.path / "environment.json"
    environment.write_text(environment.read_text().replace('"--stage"', '"http://me:hunter2@tracking/?t=1"'))
    run_id, _ = RecordMirror(client, uri, folder).push()
    shown = Path(client.download_artifacts(run_id, "environment.json", str(tmp_path))).read_text()
    assert "http://tracking/" in shown
    assert "hunter2" not in shown
