"""A study in several arrays: other resources for some arms, sizes that the cluster takes, one limit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slurm import steer
from slurm.__main__ import main
from slurm.client import SlurmError
from slurm.handover import arrays
from slurm.overview import overview
from slurm.site import Limits, Resources, Site, site_from
from slurm.submission import Task, read_submissions
from slurm.submit import Outcome, submit
from slurm.throttle import shares
from tests.slurm.conftest import make_task
from tests.slurm.fakes import FakeSlurm

REPORT = ("-m", "reports", "--study", "roadmap")
CONFIG = "MaxArraySize            = {}\nSchedulerParameters     = bf_interval=2\n"
REFUSAL = (
    "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates "
    "accounting/QOS policy (job submit limit, user's size and/or time limits)\n"
)


def tasks(count: int, arm: str = "simota") -> list[Task]:
    return [make_task(arm, seed) for seed in range(count)]


def sizes(outcome: Outcome) -> list[int]:
    return [len(each.tasks) for each in outcome.submissions]


# ---------------------------------------------------------------- resources per arm


def test_arms_that_ask_for_other_resources_have_an_array_of_their_own(fake: FakeSlurm, runs: Path) -> None:
    site = site_from(
        {
            "partition": "gpu",
            "gpu_type": "a100",
            "time_limit": "10:00",
            "arms": {
                "simota": {"gpu_type": "h100", "memory": "80G"},
                "nms-*": {"partition": "long", "nodes": 2},
            },
        },
        "x",
        "x.toml",
    )
    chosen = [make_task("baseline"), make_task("simota"), make_task("nms-free"), make_task("baseline", 1)]
    outcome = submit("roadmap", chosen, site, runs, REPORT)
    assert [[task.arm for task in each.tasks] for each in outcome.submissions] == [
        ["baseline", "baseline"],
        ["simota"],
        ["nms-free"],
    ]
    plain, simota, nms_free = (each.folder.joinpath("array.sh").read_text() for each in outcome.submissions)
    assert "#SBATCH --gres=gpu:a100:1\n" in plain
    assert "#SBATCH --gres=gpu:h100:1\n#SBATCH --mem=80G\n#SBATCH --time=10:00" in simota
    assert "#SBATCH --partition=long\n#SBATCH --nodes=2" in nms_free
    *_, report = fake.calls("sbatch")
    assert report[1] == "--dependency=afterany:101:102:103"
    assert [each.report_job for each in outcome.submissions] == [None, None, 104]
    assert read_submissions(runs)[0].site == site, "retry finds the requests of all arms"
    retried, _ = steer.again("resubmit", "roadmap", runs, ["simota"])
    assert retried is not None
    assert "gpu:h100:1" in retried.scripts["array.sh"]


def test_the_request_of_every_arm_is_checked(fake: FakeSlurm, runs: Path) -> None:
    site = Site("x", arms={"simota": Resources(gpus_per_node=8)}, limits=Limits(gpus_per_node=4))
    with pytest.raises(ValueError, match="gpus_per_node = 8, but a node has 4"):
        submit("roadmap", tasks(1), site, runs, REPORT)
    assert submit("roadmap", tasks(1, "baseline"), site, runs, REPORT).submission is not None


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"simota": {"gpus": 3}}, "unknown key 'arms.simota.gpus'; valid keys: arms.simota.partition, arms"),
        ({"simota": 3}, "arms.simota must be a table of keys and values, not 3"),
        ({"simota": {"memory": "lots"}}, "arms.simota: memory must be a size"),
        ({"simota": {"time_limit": "1"}}, r"arms.simota: signal_lead \(120 s\) must be shorter"),
    ],
)
def test_a_wrong_request_of_an_arm_is_named(arms: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        site_from({"arms": arms}, "x", "x.toml")


def test_the_price_is_that_of_each_arms_gpus(fake: FakeSlurm, runs: Path) -> None:
    """7.2e18 FLOPs are 2000 h at 1 TFLOP/s and 500 h at 4."""
    slow, fast = Task("a-s0", "a", 0, ("x",), 7.2e18), Task("b-s0", "b", 0, ("y",), 7.2e18)
    site = Site("x", tflops_per_gpu=1.0, arms={"b": Resources(tflops_per_gpu=4.0)})
    cost = submit("roadmap", [slow, fast], site, runs, REPORT, dry_run=True).cost
    assert [arm.gpu_hours for arm in cost.arms] == [2000.0, 500.0]


# ---------------------------------------------------------------- sizes that the cluster takes


def test_tasks_keep_their_order_in_arrays_of_a_size() -> None:
    seven = tasks(7)
    assert arrays(seven, Site("x"), 3) == [tuple(seven[:3]), tuple(seven[3:6]), tuple(seven[6:])]
    assert arrays(seven, Site("x"), 0) == [tuple(seven)]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIG.format(3), [3, 3, 1]),
        (CONFIG.format(1001).replace("bf_interval=2", "bf_interval=2,max_array_tasks=4"), [4, 3]),
        (CONFIG.format(1001), [7]),
        ("", [7]),
    ],
)
def test_a_study_larger_than_an_array_may_be(
    fake: FakeSlurm, site: Site, runs: Path, config: str, expected: list[int]
) -> None:
    fake.answer("scontrol", out=config)
    outcome = submit("roadmap", tasks(7), site, runs, REPORT)
    assert sizes(outcome) == expected
    assert outcome.submission is not None
    jobs = ":".join(str(101 + i) for i in range(len(expected)))
    assert fake.calls("sbatch")[-1][1] == f"--dependency=afterany:{jobs}"
    assert {row.run for row in overview("roadmap", runs).runs} == {task.run for task in tasks(7)}


def room_for(fake: FakeSlurm, jobs: int) -> None:
    """An account that may have this many jobs in the queue; an array's tasks are jobs."""
    text = (fake.bin / "sbatch").read_text()
    look = (
        "import re\n"
        "text = Path(sys.argv[-1]).read_text()\n"
        "last = re.search(r'--array=0-(\\d+)', text)\n"
        "asked = int(last.group(1)) + 1 if last else 1\n"
        "taken = folder / 'taken'\n"
        "used = int(taken.read_text()) if taken.exists() else 0\n"
        f"if used + asked > {jobs}:\n"
        f"    sys.stderr.write({REFUSAL!r}); sys.exit(1)\n"
        "taken.write_text(str(used + asked))\n"
        "answers = "
    )
    (fake.bin / "sbatch").write_text(text.replace("answers = ", look, 1))
    text = (fake.bin / "scancel").read_text()
    give_back = "(folder / 'taken').write_text(str(int((folder / 'taken').read_text()) - 1))\nanswers = "
    (fake.bin / "scancel").write_text(text.replace("answers = ", give_back, 1))


def test_what_the_account_may_not_have_yet_waits(fake: FakeSlurm, site: Site, runs: Path) -> None:
    """Room for six jobs: five runs and the report, which submits the others when the five are over."""
    room_for(fake, 6)
    outcome = submit("roadmap", tasks(10), site, runs, REPORT)
    assert sum(sizes(outcome)) == 5
    last = outcome.submission
    assert last is not None
    assert last.report_job is not None
    assert [task.seed for task in last.waiting] == [5, 6, 7, 8, 9]
    assert "5 runs wait" in outcome.notes[0]
    script = (last.folder / "report.sh").read_text()
    assert f"-m slurm resubmit --waiting --study roadmap --runs {runs}" in script
    states = [row.state for row in overview("roadmap", runs).runs]
    assert states.count("waiting") == 5
    (fake.folder / "taken").write_text("0")  # the five are over
    assert main(["resubmit", "--waiting", "--runs", str(runs)]) == 0
    assert "waiting" not in [row.state for row in overview("roadmap", runs).runs]
    assert [
        task.seed for each in read_submissions(runs)[len(outcome.submissions) :] for task in each.tasks
    ] == [*[5, 6, 7, 8, 9]]


def test_no_room_at_all_is_slurms_own_reason(fake: FakeSlurm, site: Site, runs: Path) -> None:
    room_for(fake, 0)
    with pytest.raises(SlurmError, match="AssocMaxSubmitJobLimit"):
        submit("roadmap", tasks(3), site, runs, REPORT)
    assert read_submissions(runs) == []


def test_a_report_without_waiting_runs_submits_nothing(fake: FakeSlurm, site: Site, runs: Path) -> None:
    outcome = submit("roadmap", tasks(3), site, runs, REPORT)
    assert "resubmit --waiting" not in outcome.scripts["report.sh"]


# ---------------------------------------------------------------- one limit


@pytest.mark.parametrize(
    ("limit", "array_sizes", "dealt"),
    [
        (0, [5, 5], [0, 0]),
        (8, [100], [8]),
        (8, [100, 100], [4, 4]),
        (8, [30, 10], [6, 2]),
        (8, [2, 100], [1, 7]),
        (8, [1, 1], [1, 1]),
        (2, [9, 9, 9], [1, 1, 1]),
        (5, [], []),
    ],
)
def test_the_limit_dealt_out(limit: int, array_sizes: list[int], dealt: list[int]) -> None:
    assert shares(limit, array_sizes) == dealt


def limits(outcome: Outcome) -> list[str]:
    lines = [each.folder.joinpath("array.sh").read_text() for each in outcome.submissions]
    return [text.split("#SBATCH --array=")[1].split("\n")[0] for text in lines]


def test_the_arrays_of_a_study_share_its_limit(fake: FakeSlurm, site: Site, runs: Path) -> None:
    fake.answer("scontrol", out=CONFIG.format(4))
    outcome = submit("roadmap", tasks(8), replace(site, array_throttle=3), runs, REPORT)
    assert limits(outcome) == ["0-3%2", "0-3%1"]


def test_arrays_beyond_the_limit_wait_for_earlier_ones(fake: FakeSlurm, site: Site, runs: Path) -> None:
    fake.answer("scontrol", out=CONFIG.format(2))
    outcome = submit("roadmap", tasks(6), replace(site, array_throttle=2), runs, REPORT)
    assert limits(outcome) == ["0-1%1", "0-1%1", "0-1%1"]
    assert [call[1] for call in fake.calls("sbatch")[:3]][2] == "--dependency=afterany:101"
    assert "--dependency" not in str(fake.calls("sbatch")[:2])


def test_a_later_submission_takes_its_share(fake: FakeSlurm, site: Site, runs: Path) -> None:
    """Three runs are left of the first array, three are new: a limit of four is two for each."""
    limited = replace(site, array_throttle=4)
    first = submit("roadmap", tasks(3), limited, runs, REPORT).submission
    assert first is not None
    fake.queue(*(f"{first.job_name}|101|{i}|PENDING||Resources" for i in range(3)))
    second = submit("roadmap", tasks(6), limited, runs, REPORT)
    assert limits(second) == ["0-2%2"]
    assert ["update", "JobId=101", "ArrayTaskThrottle=3"] in fake.calls("scontrol")  # dealt anew


def test_a_limit_that_cannot_be_dealt_is_no_failed_submission(
    fake: FakeSlurm, site: Site, runs: Path
) -> None:
    limited = replace(site, array_throttle=4)
    first = submit("roadmap", tasks(3), limited, runs, REPORT).submission
    assert first is not None
    fake.queue(*(f"{first.job_name}|101|{i}|PENDING||Resources" for i in range(3)))
    fake.answer("scontrol update", err="Job/step already completing or completed", status=1)
    outcome = submit("roadmap", tasks(6), limited, runs, REPORT)
    assert outcome.submission is not None
    assert "the limit was not dealt anew: Job/step already completing" in outcome.notes[0]


def test_throttle_changes_what_is_queued(
    fake: FakeSlurm, site: Site, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answer("scontrol", out=CONFIG.format(3))
    outcome = submit("roadmap", tasks(6), replace(site, array_throttle=1), runs, REPORT)
    first, second = outcome.submissions
    fake.queue(
        f"{first.job_name}|101|0|RUNNING|n|",
        f"{first.job_name}|101|1|RUNNING|n|",
        *(f"{second.job_name}|102|{i}|PENDING||Resources" for i in range(3)),
    )
    assert main(["throttle", "5", "--runs", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"roadmap": {"102": 3}}  # two of the five run elsewhere
    assert fake.calls("scontrol")[-1] == ["update", "JobId=102", "ArrayTaskThrottle=3"]
    assert main(["throttle", "0", "--runs", str(runs)]) == 0
    assert "job 102: no limit" in capsys.readouterr().out
    assert main(["throttle", "--runs", str(runs)]) == 0  # the limit that was set last, dealt anew
    assert fake.calls("scontrol")[-1] == ["update", "JobId=102", "ArrayTaskThrottle=0"]
    assert main(["throttle", "-1", "--runs", str(runs)]) == 2


def test_a_new_start_has_the_limit_of_the_profile(fake: FakeSlurm, site: Site, runs: Path) -> None:
    limited = replace(site, array_throttle=3)
    submit("roadmap", tasks(2), limited, runs, REPORT)
    assert main(["throttle", "1", "--runs", str(runs)]) == 0
    assert limits(submit("roadmap", tasks(2), limited, runs, REPORT)) == ["0-1%2"]


# ---------------------------------------------------------------- mail


def test_mail_tells_of_the_studys_end_once(fake: FakeSlurm, site: Site, runs: Path) -> None:
    """Of every array's failures, and of the end only when the report is there."""
    outcome = submit("roadmap", tasks(2), replace(site, mail="me@uni.edu"), runs, REPORT)
    mail = {
        name: [line for line in text.splitlines() if "--mail" in line]
        for name, text in outcome.scripts.items()
    }
    assert mail["array.sh"] == ["#SBATCH --mail-user=me@uni.edu", "#SBATCH --mail-type=FAIL"]
    assert mail["report.sh"] == ["#SBATCH --mail-user=me@uni.edu", "#SBATCH --mail-type=END,FAIL"]
    alone = submit("roadmap", tasks(4), replace(site, mail="me@uni.edu"), runs, ())
    assert "#SBATCH --mail-type=END,FAIL" in alone.scripts["array.sh"]
    with pytest.raises(ValueError, match="mail_on: 'SOMETIMES' is none of: BEGIN, END"):
        replace(site, mail_on=("SOMETIMES",))
