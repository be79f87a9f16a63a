"""``python -m studies.report``: what the job behind an array leaves on disk and in MLflow."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slurm.site import Site
from slurm.submission import Task, new_submission
from studies.command import cluster
from studies.report import main
from tests.reports.factory import write_run
from tests.studies.tracking_servers import open_store, runs_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_uri_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_report_is_beside_the_runs_and_in_mlflow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, _ = open_store(tmp_path)
    folder = write_run(tmp_path, "simota")
    capsys.readouterr()
    assert main(["--runs", str(tmp_path), "--no-figures"]) == 0
    captured = capsys.readouterr()
    assert "+SimOTA" in captured.out
    assert captured.err == ""
    assert (tmp_path / "roadmap" / "report" / "report.md").exists()
    (report,) = runs_of(client, "report")
    assert "report.md" in {file.path for file in client.list_artifacts(report.info.run_id)}
    assert [run.info.run_name for run in runs_of(client, "run")] == [folder.name]  # it was never mirrored


def test_without_tracking_only_the_folder_is_written(tmp_path: Path) -> None:
    write_run(tmp_path, "simota")
    assert main(["--runs", str(tmp_path), "--no-figures", "--tracking", "off"]) == 0
    assert (tmp_path / "roadmap" / "report" / "report.md").exists()
    assert not (tmp_path / "mlflow.db").exists()


def test_a_report_elsewhere_is_said_not_to_be_mirrored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, "simota")
    assert main(["--runs", str(tmp_path), "--no-figures", "--out", str(tmp_path / "elsewhere")]) == 0
    assert "leave --out away" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--keep", "--kept"])
def test_what_is_kept_is_not_mistaken_for_the_runs(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, "simota")
    with pytest.raises(SystemExit):
        main(["--runs", str(tmp_path), option, str(tmp_path / "kept"), "--tracking", "off"])
    assert "are for python -m reports" in capsys.readouterr().err


def test_runs_that_never_started_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path, "simota")
    tasks = (Task(folder.name, "simota", 0, ("a",)), Task("simota-s1-abc", "simota", 1, ("b",)))
    sent = new_submission("roadmap", Site("x"), tasks, (), tmp_path)
    sent.folder.mkdir(parents=True)
    sent.save()
    assert main(["--runs", str(tmp_path), "--no-figures", "--tracking", "off"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "never started" in line]
    assert [line.split(";")[0] for line in told] == ["never started: simota-s1-abc"]


def test_nothing_finished_is_the_reports_own_exit_status(tmp_path: Path) -> None:
    assert main(["--runs", str(tmp_path)]) == 3


@pytest.mark.parametrize(("tracking", "words"), [(None, ()), ("off", ("--tracking", "off"))])
def test_the_job_behind_an_array_runs_it(
    tmp_path: Path, tracking: str | None, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def take(*arguments: Any, **_: Any) -> None:
        given.append(arguments[4])
        raise ValueError("enough")

    monkeypatch.setattr(cluster, "submit", take)
    options = argparse.Namespace(
        again=False,
        runs=str(tmp_path),
        tracking=tracking,
        dry_run=True,
        json=False,
        max_gpu_hours=None,
        freeze=False,
    )
    plan = SimpleNamespace(study=SimpleNamespace(name="roadmap"), runs=tmp_path, planned=[])
    with pytest.raises(ValueError, match="enough"):
        cluster.submit_study(plan, Site("x"), options)  # type: ignore[arg-type]
    assert given == [("-m", "studies.report", "--study", "roadmap", "--runs", str(tmp_path), *words)]


def test_the_document_of_all_studies_is_not_for_mlflow(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--all"])
    assert "python -m reports" in capsys.readouterr().err
