"""A search on a cluster that everything happens to ends as one that nothing happened to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import Future
from pathlib import Path

import pytest

from roadmap.protocols import SMOKE
from roadmap.record import RunFolder
from roadmap.search import SearchRecord, ranked, read_search
from roadmap.search_space import space_of
from roadmap.settings import with_settings
from roadmap.stages import stage_recipe
from slurm import steer
from studies.searching.asking import next_point
from tests.cluster.laboratory import ROOT, Laboratory
from tests.cluster.registry import drill, names
from tests.cluster.trial import SITECUSTOMIZE
from tests.studies.search_bench import DATASET, Bench, hill

SPACE = """
summary = "a search on a cluster"
base = "simota"
sampler = "tpe"
trials = 12
at_once = 3
in_order = true
best = 1
fresh_seeds = 1

[training]
learning_rate = {low = 1e-3, high = 1e-1, log = true}
weight_decay = {low = 1e-5, high = 1e-2, log = true}
"""

PRUNED = """
sampler = "random"
pruner = "median"
trials = 8
at_once = 8
best = 0
training.learning_rate = {low = 1e-3, high = 1e-1, log = true}
training.weight_decay = {low = 1e-5, high = 1e-2, log = true}
"""

#: kill -9 of a step at its third write.
KILLED = """
import os, signal, sys
from pathlib import Path
import roadmap.search, studies.search, studies.searching.folders
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
roadmap.search.write_json = kill
sys.exit(studies.search.main(["--step", sys.argv[1]]))
"""


@drill
def a_search_that_everything_happens_to(lab: Laboratory) -> None:
    """kill -9 of a trial, requeue of another, a step killed in the middle, the storage gone, two controllers
    at once: twelve trials, none twice, and in order the same ones as undisturbed.
    """
    own = lab.beside("search")
    own.runs.mkdir()
    folder = own.runs / "space"
    start = _command(own, SPACE)
    (own.runs / "hold").write_text("100")  # no trial ends before what comes next has reached it
    both = [_python(own, *start) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    first, second, *_ = _record(folder).trials
    for trial in (first, second):
        own.wait("space", RunFolder(own.runs / trial.run).metrics, f"an epoch of {trial.arm}")
    os.kill(_process(folder, first.run), signal.SIGKILL)
    own.slurm("scontrol", "requeue", RunFolder(own.runs / second.run).attempts()[-1]["slurm_job"])
    assert _python(own, "-c", KILLED, str(folder)).wait(120) == -signal.SIGKILL
    (own.runs / "hold").unlink()
    own.wait("space", lambda: len(_record(folder).trials) >= 6, "six trials")
    (folder / "optuna.db").unlink()
    own.wait("space", lambda: _record(folder).phase == "finished", "the end of the search", 400)
    own.wait_until_over("space")
    _as_undisturbed(own, _record(folder), folder)


def _as_undisturbed(lab: Laboratory, found: SearchRecord, folder: Path) -> None:
    bench = Bench(lab.runs.parent / "undisturbed-search")
    same = SearchRecord(found.name, found.space, found.bases)
    expected = bench.steps(bench.runs / found.name, same)
    assert [trial.number for trial in found.trials] == list(range(12))
    assert len({trial.run for trial in found.trials}) == 12
    assert [trial.parameters for trial in found.trials] == [trial.parameters for trial in expected.trials]
    best, _ = (ranked(record.space, record.trials)[0] for record in (found, expected))
    assert best.parameters == ranked(expected.space, expected.trials)[0].parameters
    again = [(each.arm, each.trial, each.seed, each.values) for each in found.confirmations]
    assert again == [(each.arm, each.trial, each.seed, each.values) for each in expected.confirmations]
    starts = [trial.attempts for trial in found.trials]
    assert starts == [2, 2, *[1] * 10]
    assert (folder / "optuna.db").exists()


@drill
def a_search_that_prunes(lab: Laboratory) -> None:
    """Steps come by the clock; what is below the median is stopped, and retry leaves it alone."""
    own = lab.beside("pruned")
    own.runs.mkdir()
    folder = own.runs / "space"
    space = space_of(tomllib.loads(PRUNED))
    points = [next_point(space, [], number)[0] for number in range(8)]
    recipe = stage_recipe("simota", SMOKE, DATASET)
    figures = sorted(hill(with_settings(recipe, tuple(point.items()))) for point in points)
    (own.runs / "hold").write_text(str(figures[3]))  # the three worst go no further than an epoch
    begun = _python(own, *_command(own, PRUNED), "--look-every", "2", stderr=subprocess.PIPE)
    _, said = begun.communicate(timeout=120)
    assert (begun.returncode, b"submitted 8 runs as job" in said) == (0, True)
    own.wait("space", lambda: _record(folder).phase == "finished", "the end of the search", 400)
    own.wait_until_over("space")
    trials = _record(folder).trials
    assert sorted(trial.state for trial in trials) == ["finished"] * 5 + ["stopped"] * 3
    stopped = next(trial for trial in trials if trial.state == "stopped")
    assert stopped.reason.startswith("pruned at epoch 1 of 3 with AP")
    run = RunFolder(own.runs / stopped.run)
    assert run.checkpoints.is_dir()
    row = next(row for row in own.overview("space").runs if row.run == run.name)
    assert (row.state, row.last_end) == ("stopped", stopped.reason)
    for command in ("retry", "resubmit"):
        assert steer.again(command, "space", own.runs) == (None, ())


def _command(lab: Laboratory, space: str) -> tuple[str, ...]:
    """The search's command line, on a site whose jobs count instead of training."""
    stub = lab.runs / "stub"
    stub.mkdir()
    (stub / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (lab.runs / "space.toml").write_text(space)
    profile = lab.runs / "site.toml"
    profile.write_text(
        'partition = "batch"\ntime_limit = "10:00"\nsignal_lead = 20\n[variables]\nOMP_NUM_THREADS = "1"\n'
        f'PYTHONPATH = "{stub}:{ROOT}"\n[limits]\ngpus_per_node = 4\nnodes = 2\n'
    )
    words = ("--embedded", "--protocol", "smoke", "--launcher", "slurm", "--tracking", "off", "--no-report")
    place = ("--site", str(profile), "--runs", str(lab.runs))
    return ("-m", "studies.search", str(lab.runs / "space.toml"), *words, *place)


def _python(lab: Laboratory, *words: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=lab.cluster.env, stderr=stderr)


def _record(folder: Path) -> SearchRecord:
    record = read_search(folder)
    assert record is not None
    return record


def _process(folder: Path, run: str) -> int:
    starts = [e for e in RunFolder(folder.parent / run).attempts() if e["event"] == "start"]
    return int(starts[-1]["pid"])


@pytest.mark.cluster
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", names(__name__))
def test_drill(name: str, drills: dict[str, Future[None]]) -> None:
    drills[name].result()
