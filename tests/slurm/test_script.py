"""Scripts: what they say, and that no value can break out of its place. bash itself reads them here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm.history import read_history
from slurm.quoting import ScriptTemplate, check_word, comment, directive, path_directive, shell
from slurm.script import REPORT_HISTORY, Surroundings, array_script, errand_script, report_script, tasks_file
from slurm.site import Site, load_site, site_names
from slurm.submission import Task

HOSTILE = "a b'c\"d$HOME`id`$(touch /tmp/owned);&|<>*?[x]{y}~!#\\ é @{tasks} %j"
HERE = Surroundings("/here", "/usr/bin/python3", "")
#: Everything that fits on a line.
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x85"))
PATHS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x85%\\/"), min_size=1
)


def script(site: Site, folder: str = "/runs/s/submissions/1", surroundings: Surroundings = HERE) -> str:
    return array_script("s.1", "A study", 7, Path(folder), Path("/runs/s"), site, surroundings)


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


def test_the_request_is_spelt_out() -> None:
    site = replace(load_site("large"), container=())
    assert directives(script(site)) == [
        "--job-name=s.1",
        "--array=0-6%4",
        "--partition=gpu-preempt",
        "--account=proj-1234",
        "--qos=standby",
        "--nodes=2",
        "--ntasks-per-node=8",
        "--cpus-per-task=12",
        "--gres=gpu:a100:8",
        "--mem=480G",
        "--time=12:00:00",
        "--constraint=a100&nvlink",
        '--output="/runs/s/submissions/1/logs/%A_%a.log"',
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@300",
    ]


def report(site: Site) -> str:
    return report_script("s.1", "t", ("-m", "reports"), Path("/runs/s/submissions/1"), site, HERE)


@pytest.mark.parametrize("chosen", ["", "max_split_size_mb:64"])
def test_gpu_memory_grows_in_segments_unless_the_user_decided(chosen: str) -> None:
    line = next(line for line in script(load_site("large")).splitlines() if "PYTORCH_CUDA_ALLOC_CONF" in line)
    environment = {"PATH": os.environ["PATH"]} | ({"PYTORCH_CUDA_ALLOC_CONF": chosen} if chosen else {})
    command = f"{line}; printenv PYTORCH_CUDA_ALLOC_CONF"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (chosen or "expandable_segments:True")


def test_the_report_asks_for_what_suits_its_own_partition() -> None:
    """A QoS or a constraint of the GPU partition would keep it out of the queue for ever."""
    assert directives(report(load_site("large"))) == [
        "--job-name=s.1",
        "--partition=cpu",
        "--account=proj-1234",
        "--ntasks=1",
        "--mem=16G",
        "--time=30:00",
        '--output="/runs/s/submissions/1/logs/report_%j.log"',
        "--open-mode=append",
        "--requeue",
    ]
    own = replace(load_site("large"), report_qos="short", report_options=("--constraint=bigmem",))
    assert {"--qos=short", "--constraint=bigmem"} <= set(directives(report(own)))


def test_the_report_goes_where_the_runs_go_unless_told() -> None:
    site = Site("x", partition="gpu", qos="long", options=("--reservation=yolo",), memory="64G")
    assert {"--partition=gpu", "--qos=long", "--reservation=yolo"} <= set(directives(report(site)))
    assert not any("--mem" in line for line in directives(report(site)))


def test_srun_options_reach_every_process() -> None:
    """pyxis and enroot put a container around what srun starts; a report is started by srun then too."""
    site = Site("x", srun_options=("--container-image=/images/my yolox.sqsh",))
    option = "'--container-image=/images/my yolox.sqsh'"
    errand = errand_script("s.1", "t", ("-m", "x"), Path("/f"), site, HERE)
    for text in (script(site), errand):
        assert f'--cpus-per-task="$SLURM_CPUS_PER_TASK" {option} "$python"' in text
    assert f'\nsrun --ntasks=1 {option} "$python" -m reports' in report(site)
    assert "srun --ntasks" not in report(Site("x"))


def test_the_report_notes_how_it_ended(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    text = report_script("s.1", "t", ("-c", "import sys; sys.exit(3)"), tmp_path, Site("x"), Surroundings(
        str(tmp_path), sys.executable, ""
    ))  # fmt: skip
    done = subprocess.run(
        ["bash"], input=text, text=True, env={**os.environ, "SLURM_JOB_ID": "7"}, check=False
    )
    assert done.returncode == 3
    events = read_history(tmp_path / "history" / REPORT_HISTORY)
    assert [(e.job, e.event, e.status) for e in events] == [("7", "start", 0), ("7", "end", 3)]


def test_a_cluster_without_gpus_runs_one_process_per_node() -> None:
    found = directives(script(Site("cpu", gpus_per_node=0, nodes=3, cpus_per_gpu=8)))
    assert not any("gres" in line for line in found)
    assert {"--nodes=3", "--ntasks-per-node=1", "--cpus-per-task=8"} <= set(found)


def test_rendezvous_only_for_several_processes() -> None:
    assert "MASTER_ADDR" not in script(Site("one"))
    assert "YOLOX_DISTRIBUTED=slurm" in script(Site("two", gpus_per_node=2))
    assert "MASTER_ADDR" in script(Site("nodes", nodes=2))
    several = report_script("s.1", "t", ("-m", "reports"), Path("/f"), Site("two", gpus_per_node=2), HERE)
    assert "MASTER_ADDR" not in several


def test_the_environment_of_the_site() -> None:
    site = replace(load_site("large"), variables={"A": "it's $x"})
    text = script(site, surroundings=Surroundings("/my work", "/env/python", "/a:/b"))
    for line in (
        "cd '/my work' || exit 66",
        "python=python3",  # the site's, inside its container
        "module load apptainer/1.3 || exit 67",
        "ulimit -n 65536",
        "export PYTHONPATH=/a:/b",
        "export COCO_DIR=/scratch/datasets/coco",
        "export MLFLOW_TRACKING_URI=https://mlflow.example.org",
        "export A='it'\"'\"'s $x'",
    ):
        assert line in text.splitlines()
    assert (
        '"$SLURM_CPUS_PER_TASK" apptainer exec --nv --bind /scratch /project/images/yolox.sif "$python"'
        in text
    )


@pytest.mark.parametrize("name", site_names())
def test_bash_accepts_every_script(name: str) -> None:
    site = load_site(name)
    folder = Path("/runs/s/submissions/1")
    for text in (
        script(site),
        report_script("s.1", "t", ("-m", "reports"), folder, site, HERE),
        errand_script("s.1", "t", ("-m", "studies.attempt.preflight"), folder, site, HERE),
    ):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        assert "@{" not in text


def bash(code: str) -> str:
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    return done.stdout


def environment_of(text: str) -> str:
    """The part of a script that enters the directory and sets variables."""
    return text[text.index("# The site's environment.") : text.index("# Our run and its command line")]


@settings(max_examples=40, deadline=None)
@given(value=LINES)
def test_a_variable_keeps_any_value(value: str) -> None:
    site = Site("x", variables={"HOSTILE": value}, coco=value, tracking_uri=value)
    text = script(site, surroundings=Surroundings("/", "/usr/bin/python3", ""))
    out = bash(environment_of(text) + 'printf "%s\\0" "$HOSTILE" "${COCO_DIR-}" "${MLFLOW_TRACKING_URI-}"')
    assert out.split("\0")[:3] == [value] * 3


@settings(max_examples=40, deadline=None)
@given(words=st.lists(LINES, min_size=1, max_size=4))
def test_a_command_keeps_any_words(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The script's own lines find the command with our index in tasks.txt, word for word."""
    folder = tmp_path_factory.mktemp("tasks")
    tasks = [
        Task("run-0", "a", 0, ("no",)),
        Task("run-1", "a", 1, tuple(words)),
        Task("run-2", "a", 2, ("no",)),
    ]
    (folder / "tasks.txt").write_text(tasks_file(tasks))
    text = script(Site("x"))
    reading = text[text.index("run=\nwhile") : text.index('if [ -z "$run" ]')]
    prelude = f"index=1 runs=/runs folder={shlex.quote(str(folder))}\n"
    out = bash(prelude + reading + 'printf "%s\\0" "$run" "${command[@]}"')
    assert out.split("\0")[:-1] == ["/runs/run-1", *words]


@settings(max_examples=60, deadline=None)
@given(name=PATHS)
def test_paths_stay_one_value(name: str) -> None:
    """Folder and python in the shell part, output in the #SBATCH part (read back by sbatch's own rules)."""
    folder = f"/r/{name}"
    text = script(Site("x", python=folder), folder)
    head = text[text.index("\nfolder=") : text.index("\ntask=")]
    assert bash(head + '\nprintf "%s\\0" "$folder" "$python"').split("\0")[:2] == [folder, folder]
    output = next(line for line in directives(text) if line.startswith("--output="))
    assert unquote_like_sbatch(output) == f"--output={folder}/logs/%A_%a.log"


def unquote_like_sbatch(line: str) -> str:
    """One option as sbatch reads a directive: double quotes group, a backslash escapes, '#' ends it."""
    out, quoted, escaped = "", False, False
    for character in line:
        if escaped:
            out, escaped = out + character, False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted and (character.isspace() or character == "#"):
            break
        else:
            out += character
    return out


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "a\x7fb", "a\u2028b", "a\x85b"])
def test_control_characters_are_refused_everywhere(bad: str) -> None:
    for use in (shell, comment):
        with pytest.raises(ValueError, match="line breaks or control characters"):
            use(bad)
    with pytest.raises(ValueError):
        path_directive("--output", bad)
    with pytest.raises(ValueError):
        directive("--partition", bad)


@pytest.mark.parametrize("bad", ["", "a b", "a'b", 'a"b', "a$b", "a`b", "a\\b", "a#b", "a\n--uid=0", HOSTILE])
def test_words_of_directives_are_a_small_alphabet(bad: str) -> None:
    with pytest.raises(ValueError, match="Slurm options take"):
        check_word(bad, "partition")


@pytest.mark.parametrize("path", ["/runs/%j", "/runs/a\\b"])
def test_paths_that_slurm_would_change_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="Slurm cannot write to a path with"):
        path_directive("--output", path)


def test_a_run_name_cannot_add_words() -> None:
    with pytest.raises(ValueError, match="run must be letters"):
        tasks_file([Task("a b", "a", 0, ())])


def test_values_are_not_filled_in_again() -> None:
    assert ScriptTemplate("@{a} ${b} @{c}").substitute(a="@{c}", c="$1") == "@{c} ${b} $1"
    with pytest.raises(KeyError):
        ScriptTemplate("@{missing}").substitute()
