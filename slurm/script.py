"""Job scripts: plain bash that an administrator can read, from the templates beside this file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slurm.quoting import (
    ScriptTemplate,
    check_name,
    command_line,
    comment,
    directive,
    path_directive,
    shell,
)
from slurm.site import Site
from slurm.submission import Task

#: What happened to the report job, beside the histories of the tasks.
REPORT_HISTORY = "report.tsv"
TEMPLATES = Path(__file__).parent

#: Where Debian's and most clusters' module systems define the shell function ``module``.
_MODULE_INIT = (
    "/etc/profile.d/modules.sh /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh /usr/share/modules/init/bash"
)


@dataclass(frozen=True)
class Surroundings:
    """Where the submitting process works, so that a job finds the same files and the same packages.

    directory: working directory. python: interpreter. python_path: PYTHONPATH, empty when unset.
    safe_path: whether Python finds modules there and nowhere in the working directory.
    """

    directory: str
    python: str
    python_path: str
    safe_path: bool = False

    @classmethod
    def here(cls) -> Surroundings:
        path = os.environ.get("PYTHONPATH", "")
        return cls(os.getcwd(), sys.executable, path, bool(os.environ.get("PYTHONSAFEPATH")))

    def running(self, code: str) -> Surroundings:
        """The same with the code in a folder instead of what the path leads to now; empty for that."""
        if not code:
            return self
        others = [part for part in self.python_path.split(os.pathsep) if part and part != code]
        return replace(self, python_path=os.pathsep.join([code, *others]), safe_path=True)


def array_script(
    name: str,
    title: str,
    tasks: int,
    folder: Path,
    runs: Path,
    site: Site,
    surroundings: Surroundings,
    throttle: int | None = None,
    report: bool = True,
) -> str:
    """The script of a job array with one run per task.

    name: of the job. title: a line for the heading. folder: of the submission; runs: of the study's run
    records; both absolute. throttle: this array's share of the site's array_throttle, None for all of it.
    report: whether a report job follows, whose mail tells of the end.
    """
    share = site.array_throttle if throttle is None else throttle
    limit = f"%{share}" if share else ""
    events = [event for event in site.mail_on if event != "END" or not report]
    directives = [
        directive("--job-name", check_name(name, "job name")),
        directive("--array", f"0-{tasks - 1}{limit}"),
        *_queue(site),
        *_resources(site),
        path_directive("--output", str(folder / "logs"), "/%A_%a.log"),
        directive("--open-mode", "append"),
        directive("--requeue"),
        directive("--signal", f"B:USR1@{site.signal_lead}"),
        *_mail(site, events),
    ]
    return _fill(
        "array.sh",
        heading=comment(title),
        directives="\n".join(directives),
        folder=shell(str(folder), "folder"),
        runs=shell(str(runs), "runs folder"),
        lead=str(site.signal_lead),
        srun_options=_words(site.srun_options),
        max_requeues=str(site.max_requeues),
        balance=_balance(site, runs),
        **_common(site, surroundings, site.tasks),
    )


def report_script(
    name: str,
    title: str,
    command: Sequence[str],
    folder: Path,
    site: Site,
    surroundings: Surroundings,
    waiting: bool = False,
    begin: float = 0,
) -> str:
    """The script of the report job; ``command`` follows the interpreter. folder: of the submission. waiting:
    whether it has runs to submit first, which the cluster did not take before. begin: seconds from now before
    which it does not start.
    """
    study = folder.parent.parent
    go_on = ("-m", "slurm", "resubmit", "--waiting", "--study", study.name, "--runs", str(study.parent))
    directives = [
        directive("--job-name", check_name(name, "job name")),
        *_queue(_of_the_report(site)),
        directive("--ntasks", 1),
        *([directive("--begin", f"now+{begin:.0f}")] if begin else []),
        *_request(site.report_memory, site.report_time_limit, _of_the_report(site).options),
        path_directive("--output", str(folder / "logs"), "/report_%j.log"),
        directive("--open-mode", "append"),
        directive("--requeue"),
        *_mail(site, site.mail_on),
    ]
    return _fill(
        "report.sh",
        heading=comment(title),
        directives="\n".join(directives),
        history=shell(str(folder / "history" / REPORT_HISTORY), "history"),
        command=command_line(command),
        go_on=f'{_words(site.container)}"$python" {command_line(go_on)}' if waiting else ":",
        srun=f"srun --ntasks=1 {command_line(site.srun_options)} " if site.srun_options else "",
        **_common(site, surroundings, 1),
    )


def _balance(site: Site, runs: Path) -> str:
    """What shares a study's limit out anew when a task is over; nothing where there is no limit."""
    if not site.array_throttle:
        return ":"
    study, folder = shell(runs.name, "study"), shell(str(runs.parent), "runs folder")
    return f'{_words(site.container)}"$python" -m slurm throttle --study {study} --runs {folder}'


def _mail(site: Site, events: Sequence[str]) -> list[str]:
    if not site.mail or not events:
        return []
    return [directive("--mail-user", site.mail), directive("--mail-type", ",".join(events))]


def _of_the_report(site: Site) -> Site:
    """Where the report job goes: what suits the runs' partition need not suit another one."""
    if not site.report_partition:
        return replace(site, qos=site.report_qos or site.qos, options=site.report_options or site.options)
    return replace(site, partition=site.report_partition, qos=site.report_qos, options=site.report_options)


def errand_script(
    name: str, title: str, command: Sequence[str], folder: Path, site: Site, surroundings: Surroundings
) -> str:
    """The script of a short job with the resources of a run; ``command`` follows the interpreter."""
    directives = [
        directive("--job-name", check_name(name, "job name")),
        *_queue(site),
        *_resources(site),
        path_directive("--output", str(folder), "/job.log"),
        directive("--no-requeue"),
    ]
    return _fill(
        "errand.sh",
        heading=comment(title),
        directives="\n".join(directives),
        command=command_line(command),
        srun_options=_words(site.srun_options),
        **_common(site, surroundings, site.tasks),
    )


def tasks_file(tasks: Sequence[Task]) -> str:
    """One line per array task: its index, its run, and what follows the interpreter, quoted for a shell."""
    return "".join(
        f"{index} {check_name(task.run, 'run')} {command_line(task.arguments)}\n"
        for index, task in enumerate(tasks)
    )


def _queue(site: Site) -> list[str]:
    chosen = {"--partition": site.partition, "--account": site.account, "--qos": site.qos}
    return [directive(option, value) for option, value in chosen.items() if value]


def _resources(site: Site) -> list[str]:
    lines = [
        directive("--nodes", site.nodes),
        directive("--ntasks-per-node", site.tasks_per_node),
        directive("--cpus-per-task", site.cpus_per_gpu),
    ]
    if site.gpus_per_node:
        kind = f"{site.gpu_type}:" if site.gpu_type else ""
        lines.append(directive("--gres", f"gpu:{kind}{site.gpus_per_node}"))
    return lines + _request(site.memory, site.time_limit, site.options)


def _request(memory: str, time_limit: str, options: Sequence[str]) -> list[str]:
    chosen = {"--mem": memory, "--time": time_limit}
    lines = [directive(option, value) for option, value in chosen.items() if value]
    return lines + [directive(option) for option in options]


def _common(site: Site, surroundings: Surroundings, processes: int) -> dict[str, str]:
    return {
        "python": shell(site.python or surroundings.python, "python"),
        "directory": shell(surroundings.directory, "working directory"),
        "environment": "\n".join(_environment(site, surroundings, processes)),
        "wrapper": _words(site.container),
    }


def _words(words: Sequence[str]) -> str:
    """Words that come before others in a command; empty when there are none."""
    return f"{command_line(words)} " if words else ""


def _environment(site: Site, surroundings: Surroundings, processes: int) -> list[str]:
    lines = []
    if site.modules:
        lines += [
            f"for init in {_MODULE_INIT}; do",
            '    if ! type module > /dev/null 2>&1 && [ -r "$init" ]; then . "$init"; fi',
            "done",
            f"module load {command_line(site.modules)} || exit 67",
        ]
    lines += site.setup
    variables = {"PYTHONUNBUFFERED": "1"}
    if surroundings.python_path:
        variables["PYTHONPATH"] = surroundings.python_path
    if surroundings.safe_path:
        variables["PYTHONSAFEPATH"] = "1"
    if site.coco:
        variables["COCO_DIR"] = site.coco
    if site.tracking_uri:
        variables["MLFLOW_TRACKING_URI"] = site.tracking_uri
    variables |= site.variables
    if surroundings.safe_path and "PYTHONPATH" in site.variables:  # behind the code that was chosen
        variables["PYTHONPATH"] = os.pathsep.join([surroundings.python_path, site.variables["PYTHONPATH"]])
    lines += [f"export {name}={shell(value, name)}" for name, value in variables.items()]
    if processes > 1:
        lines += [
            "# Rendezvous: this script runs on the first node, as process 0 does. One port per array task.",
            "export YOLOX_DISTRIBUTED=slurm",
            'export MASTER_ADDR="$SLURMD_NODENAME" MASTER_PORT=$((15000 + SLURM_JOB_ID % 16000))',
        ]
    return lines


def _fill(template: str, **values: str) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return ScriptTemplate(text).substitute(values)
