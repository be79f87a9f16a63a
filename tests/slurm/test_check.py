"""Short jobs and what is made of what they leave, or do not leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadmap.record import write_json
from slurm import errand
from slurm.__main__ import main
from slurm.budget import known_throughput
from slurm.check import Finding, Report, preflight
from slurm.client import SlurmError
from slurm.probe import probe
from slurm.site import Limits, Site
from tests.slurm.fakes import FakeSlurm

SITE = Site("test", partition="batch", gpus_per_node=2, time_limit="2-0", limits=Limits(gpus_per_node=4))


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "_PAUSES", (0.01, 0.02))


def leave(fake: FakeSlurm, code: str) -> None:
    """Let sbatch do what the job would: run code with the job's ``folder``."""
    text = (fake.bin / "sbatch").read_text()
    job = f"folder_ = Path(sys.argv[-1]).parent\n{code}\nanswers = "
    (fake.bin / "sbatch").write_text(text.replace("answers = ", job, 1))


def test_findings_of_all_processes_are_gathered(fake: FakeSlurm, runs: Path) -> None:
    leave(
        fake,
        "for rank in (0, 1):\n"
        "    finding = {'check': 'locks', 'ok': rank == 0, 'detail': 'd', 'fix': 'mount it'}\n"
        "    value = {'node': f'node{rank}', 'findings': [finding]}\n"
        "    (folder_ / f'process-{rank}.json').write_text(json.dumps(value))",
    )
    report = preflight(SITE, runs, "/data", 5)
    assert report.findings == (
        Finding("locks", True, "process 0 on node0", "d", "mount it"),
        Finding("locks", False, "process 1 on node1", "d", "mount it"),
    )
    assert not report.ok
    script = (report.folder / "job.sh").read_text()
    assert (
        f"-m studies.attempt.preflight --runs {runs} --output {report.folder} --gpus 2 --nodes 1 "
        f"--data /data --held {report.folder}" in script
    )
    assert "#SBATCH --time=15:00" in script
    assert "#SBATCH --no-requeue" in script


def test_a_lock_is_held_here_while_the_job_looks(fake: FakeSlurm, runs: Path) -> None:
    leave(
        fake,
        "import fcntl\n"
        "free = True\n"
        "try: fcntl.flock((folder_ / 'lock').open(), fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
        "except BlockingIOError: free = False\n"
        "found = {'check': 'locks', 'ok': not free, 'detail': 'd', 'fix': 'f'}\n"
        "(folder_ / 'process-0.json').write_text(json.dumps({'node': 'n', 'findings': [found]}))",
    )
    report = preflight(Site("test"), runs, None, 5)
    assert [f.ok for f in report.findings] == [True]
    assert f"--held {report.folder}" in (report.folder / "job.sh").read_text()


def test_a_job_without_a_trace_points_at_the_runs_folder(fake: FakeSlurm, runs: Path) -> None:
    report = preflight(SITE, runs, None, 5)
    assert [f.check for f in report.findings] == ["start", "start"]
    assert "no report and no log" in report.findings[0].detail
    assert f"make {runs}" in report.findings[0].fix


def test_a_job_that_only_left_a_log_shows_its_end(fake: FakeSlurm, runs: Path) -> None:
    leave(fake, "(folder_ / 'job.log').write_text('module: no such module: cuda/13\\n')")
    report = preflight(SITE, runs, None, 5)
    assert "no such module: cuda/13" in report.findings[0].detail
    assert "modules, setup, python and container" in report.findings[0].fix


def test_equal_findings_are_shown_once() -> None:
    same = [Finding("gpus", True, f"process {i} on n", "two") for i in range(4)]
    other = Finding("gpus", False, "process 4 on n", "one", "ask")
    merged = Report(Path(), (*same, other)).merged()
    assert [(f.where, f.detail) for f in merged] == [("4 processes", "two"), ("process 4 on n", "one")]


def test_a_job_that_stays_in_the_queue_is_cancelled(
    fake: FakeSlurm, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.queue("preflight|101|N/A|PENDING||Resources")
    with pytest.raises(SlurmError, match=r"still pending Resources after 0 s and is cancelled; wait longer"):
        preflight(SITE, runs, None, 0)
    assert fake.calls("scancel") == [["101"]]


def test_only_the_job_is_asked_for_and_less_and_less_often(
    fake: FakeSlurm, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole queue of a large cluster is not read every second."""
    monkeypatch.setattr(errand, "_PAUSES", (1.0, 30.0))
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            fake.queue("preflight|101|N/A|COMPLETED|n|None")

    monkeypatch.setattr(errand, "sleep", sleep)
    fake.queue("preflight|101|N/A|PENDING||Resources")
    preflight(SITE, runs, None, 1e9)
    assert all("--jobs=101" in call for call in fake.calls("squeue"))
    assert pauses[0] == 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0


def test_a_job_that_slurm_has_forgotten_is_over(fake: FakeSlurm, runs: Path) -> None:
    fake.answer("squeue", err="slurm_load_jobs error: Invalid job id specified\n", status=1)
    assert not preflight(SITE, runs, None, 5).ok


def test_ctrl_c_takes_the_job_along(
    fake: FakeSlurm, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(errand, "sleep", interrupt)
    fake.queue("preflight|101|N/A|PENDING||Resources")
    assert main(["check", "--runs", str(runs), "--site", "default"]) == 130
    assert fake.calls("scancel") == [["101"]]
    assert "job 101 is cancelled" in capsys.readouterr().err


def test_a_runs_folder_that_is_a_file(fake: FakeSlurm, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ValueError, match="cannot write to the runs folder from here"):
        preflight(SITE, tmp_path / "runs", None, 5)
    assert fake.calls("sbatch") == []


def test_the_command_line_says_what_to_fix(
    fake: FakeSlurm, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--runs", str(runs), "--site", "default"]) == 1
    out = capsys.readouterr().out
    assert "FAILED  start: no report and no log" in out
    assert "to fix: make" in out
    assert "site default: 1 thing to fix" in out
    assert main(["check", "--runs", str(runs), "--json", "--gpus-per-node", "0"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_probe_is_kept_for_estimates(fake: FakeSlurm, runs: Path) -> None:
    leave(
        fake,
        "(folder_ / 'probe.json').write_text(json.dumps({'tflops_per_gpu': 12.5, 'time': 'noon'}))",
    )
    found = probe(SITE, runs, None, "simota", "smoke", 3, 5)
    assert (found.tflops, found.source) == (12.5, "the probe of noon")
    assert known_throughput(SITE, runs) == found


def test_a_probe_that_measured_nothing_shows_the_log(fake: FakeSlurm, runs: Path) -> None:
    leave(fake, "(folder_ / 'job.log').write_text('CUDA out of memory')")
    with pytest.raises(SlurmError, match=r"(?s)measured nothing.*CUDA out of memory"):
        probe(SITE, runs, None, "simota", None, 3, 5)
    assert known_throughput(SITE, runs) is None


def test_an_old_probe_survives_a_failed_one(fake: FakeSlurm, runs: Path) -> None:
    (runs / "probes").mkdir(parents=True)
    write_json(runs / "probes" / "test.json", {"tflops_per_gpu": 3.0, "time": "then"})
    with pytest.raises(SlurmError):
        probe(SITE, runs, None, "simota", None, 3, 5)
    known = known_throughput(SITE, runs)
    assert known is not None
    assert known.tflops == 3.0
