"""See and steer studies on Slurm: python -m slurm status, logs, cancel, retry and more."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from roadmap.record import RunFolder
from roadmap.text_table import aligned
from slurm import announce, steer
from slurm.attach import attach
from slurm.check import preflight
from slurm.client import SlurmError
from slurm.logs import follow, log_of, tail
from slurm.overview import Overview, RunStatus, overview, studies
from slurm.ownership import whose
from slurm.probe import probe
from slurm.rescue import holder_of, set_aside, why_not
from slurm.site import load_site, site_names
from slurm.submission import read_submissions
from slurm.throttle import balance, set_limit

_EPILOG = """\
examples:
  python -m slurm status                                 every run of every study
  python -m slurm logs --only simota --seed 0            the tail of its log
  python -m slurm logs --stage simota --follow           and what is added, until it is over
  python -m slurm attach --stage simota --seed 0         a shell beside it
  python -m slurm throttle 4                             four runs of a study at a time, from now on
  python -m slurm retry --study roadmap                  what ended without a result, once more
  python -m slurm resubmit --study roadmap               what is missing, but for what failed or was cancelled
  python -m slurm check --site my-cluster.toml           is the cluster ready? tells what to fix

Studies are submitted by their own commands: python -m studies.roadmap --site my-cluster.toml
docs/slurm.md leads from nothing to a finished study.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the check failed or there is nothing to show, 2 a wrong call or no Slurm."""
    options = _parser().parse_args(arguments)
    try:
        status = options.carry_out(options)
        sys.stdout.flush()
        return status
    except (ValueError, SlurmError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, head perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        print(f"error: {error}{whose(error.filename)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m slurm",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    status = _command(
        commands, "status", _status, "every run: state, progress, job, node, attempts, last end"
    )
    _selection(status)
    logs = _command(commands, "logs", _logs, "the tail of a run's log")
    _selection(logs)
    logs.add_argument("--lines", type=int, default=40, metavar="N", help="lines to show (default 40)")
    logs.add_argument("--follow", action="store_true", help="and what is added, until the runs are over")
    attach = _command(
        commands, "attach", _attach, "a shell beside a running run, or a command: -- nvidia-smi"
    )
    _selection(attach)
    attach.add_argument("words", nargs="*", metavar="COMMAND", help="default: a shell")
    rescue = _command(
        commands, "rescue", _rescue, "set aside locks whose holder's job is over, by what Slurm says"
    )
    _selection(rescue)
    rescue.add_argument("--dry-run", action="store_true", help="only say which")
    _selection(
        _command(commands, "cancel", _cancel, "cancel runs in the queue; a checkpoint is written first")
    )
    for name, summary in (
        ("retry", "submit again what ended without a result"),
        (
            "resubmit",
            "submit what is missing: neither finished, nor in the queue, nor failed by itself, nor cancelled",
        ),
    ):
        command = _command(commands, name, _again, summary)
        _selection(command)
        command.set_defaults(command=name, waiting=False)
        command.add_argument("--site", metavar="SITE", help="another site than last time: a name or a file")
        command.add_argument("--max-gpu-hours", type=float, metavar="H", help="refuse above this estimate")
        command.add_argument("--dry-run", action="store_true", help="print the scripts, submit nothing")
        if name == "resubmit":
            command.add_argument(
                "--waiting",
                action="store_true",
                help="only what the cluster had no room for (the report job does)",
            )
    throttle = _command(
        commands, "throttle", _throttle, "how many runs of a study may train at the same time, from now on"
    )
    throttle.add_argument(
        "limit",
        type=int,
        nargs="?",
        metavar="N",
        help="0: as many as fit; without N the present limit is dealt anew",
    )
    throttle.add_argument("--study", metavar="STUDY", help="default: every study below the runs folder")
    throttle.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    throttle.add_argument("--json", action="store_true", help="one JSON document")
    check = _command(
        commands, "check", _check, "a short job that says whether training would run, and what to fix"
    )
    _errand(check)
    check.add_argument("--nodes", type=int, metavar="N", help="nodes, instead of the profile's")
    check.add_argument(
        "--gpus-per-node", type=int, metavar="N", help="GPUs per node, instead of the profile's"
    )
    probe = _command(
        commands, "probe", _probe, "measure a GPU's training TFLOP/s, for estimates of GPU-hours"
    )
    _errand(probe)
    probe.add_argument("--stage", default="simota", metavar="STAGE", help="what to train (default simota)")
    probe.add_argument("--protocol", metavar="NAME", help="default: paper with a dataset, else demo")
    probe.add_argument("--seconds", type=float, default=60.0, metavar="S", help="to measure (default 60)")
    sites = _command(commands, "sites", _sites, "the site profiles that come with the project")
    sites.add_argument("--json", action="store_true", help="one JSON document")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, carry_out: object, summary: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=summary)
    command.set_defaults(carry_out=carry_out)
    return command


def _selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--study", metavar="STUDY", help="default: every study below the runs folder")
    command.add_argument(
        "--only", "--stage", "--model", action="append", default=[], metavar="NAME",
        help="these arms of the study; may be repeated (--stage and --model say the same)",
    )  # fmt: skip
    command.add_argument("--seed", action="append", type=int, default=[], metavar="N", help="may be repeated")
    command.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    command.add_argument("--json", action="store_true", help="one JSON document")


def _errand(command: argparse.ArgumentParser) -> None:
    command.add_argument("--site", metavar="SITE", help="name or file; default: $YOLOX_SITE, else default")
    command.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    command.add_argument("--data", metavar="DIR", help="dataset; default: the site's, else the embedded one")
    command.add_argument("--wait", type=float, default=1800.0, metavar="S", help="seconds (default 1800)")
    command.add_argument("--json", action="store_true", help="one JSON document")


def _found(options: argparse.Namespace) -> list[tuple[Overview, tuple[RunStatus, ...]]]:
    """The chosen rows of every chosen study."""
    names = studies(options.runs)
    if options.study is not None and options.study not in names:
        raise ValueError(
            f"no study {options.study!r} in {options.runs}; it has: {', '.join(names) or 'none'}"
        )
    chosen = [options.study] if options.study is not None else names
    found = [overview(name, options.runs) for name in chosen]
    selected = []
    problem: ValueError | None = None
    for each in found:
        try:
            selected.append((each, steer.select(each, options.only, options.seed)))
        except ValueError as error:  # this study lacks the arm; another may have it
            problem = error
    if problem is not None and not selected:
        raise problem
    return selected


def _status(options: argparse.Namespace) -> int:
    found = _found(options)
    for each, _ in found:
        for note in each.notes:
            print(f"note: {note}", file=sys.stderr)
    if options.json:
        rows = [{"study": each.study, **row.to_json()} for each, selected in found for row in selected]
        print(json.dumps(rows, indent=1))
    else:
        print("\n\n".join(announce.status_table(each, rows) for each, rows in found) or "no studies yet")
    return 0


def _logs(options: argparse.Namespace) -> int:
    if options.follow:
        if options.json:
            raise ValueError("--follow prints lines as they come: leave --json away")
        follow(lambda: _chosen(options), options.runs, options.lines)
        return 0
    shown = []
    for study, row in _chosen(options):
        path = log_of(row, options.runs, study)
        if path is not None:
            lines = tail(path, options.lines)
            shown.append({"study": study, "run": row.run, "path": str(path), "lines": lines})
    if options.json:
        print(json.dumps(shown, indent=1))
    else:
        for log in shown:
            print(f"==> {log['run']}: {log['path']}")
            print("\n".join(log["lines"]))
    if not shown:
        print("no logs yet", file=sys.stderr)
    return 0 if shown else 1


def _chosen(options: argparse.Namespace) -> list[tuple[str, RunStatus]]:
    """Study and row of each chosen run."""
    return [(each.study, row) for each, selected in _found(options) for row in selected]


def _attach(options: argparse.Namespace) -> int:
    attach([row for _, row in _chosen(options)], options.words)
    return 0


def _rescue(options: argparse.Namespace) -> int:
    answers = []
    for study, row in _chosen(options):
        folder = RunFolder(options.runs / study / row.run)
        if row.state == "finished" or not folder.is_locked():
            continue
        holder = holder_of(folder)
        reason = why_not(holder) if holder else "its lock does not say who holds it"
        kept = None if reason or options.dry_run else set_aside(folder)
        answers.append(
            {"run": row.run, "holder": str(holder), "left_alone": reason, "lock": kept and str(kept)}
        )
        if not options.json:
            done = f"left alone: {reason}" if reason else f"kept as {kept}" if kept else "would be set aside"
            print(f"{row.run}: the lock of {holder or 'an unknown process'}: {done}")
    if options.json:
        print(json.dumps(answers, indent=1))
    elif not answers:
        print("no run is locked")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    ids = [job for each, rows in _found(options) for job in steer.cancel(each, rows)]
    print(json.dumps(ids) if options.json else f"cancelled: {', '.join(ids) or 'nothing was in the queue'}")
    return 0


def _throttle(options: argparse.Namespace) -> int:
    submitted = dict.fromkeys(each.study for each in read_submissions(options.runs))
    chosen = [options.study] if options.study else list(submitted)
    dealt = {}
    for study in chosen:
        if options.limit is not None:
            set_limit(study, options.runs, options.limit)
        dealt[study] = balance(study, options.runs)
    if options.json:
        print(json.dumps(dealt, indent=1))
        return 0
    for study, jobs in dealt.items():
        what = ", ".join(f"job {job}: {share or 'no limit'}" for job, share in jobs.items())
        print(f"{study}: {what or 'nothing waits in the queue'}")
    return 0


def _again(options: argparse.Namespace) -> int:
    chosen = [options.study] if options.study else list(studies(options.runs))
    if not chosen:
        raise ValueError(f"no studies in {options.runs}")
    answers = []
    for study in chosen:
        outcome, left = steer.again(
            options.command,
            study,
            options.runs,
            options.only,
            options.seed,
            load_site(options.site) if options.site else None,
            options.max_gpu_hours,
            options.dry_run,
            options.waiting,
        )
        answers.append(
            {
                "study": study,
                "outcome": announce.outcome_json(outcome) if outcome else None,
                "failed": [row.run for row in left if row.state == "failed"],
                "cancelled": [row.run for row in left if row.state == "cancelled"],
            }
        )
        if not options.json:
            print(
                announce.outcome_text(outcome, options.dry_run)
                if outcome
                else f"{study}: nothing to {options.command}"
            )
            for row in left:
                why = "failed by itself" if row.state == "failed" else "somebody's wish"
                print(f"{why}, see python -m slurm retry: {row.run} ({row.last_end})")
    if options.json:
        print(json.dumps(answers, indent=1))
    return 0


def _check(options: argparse.Namespace) -> int:
    site = load_site(options.site)
    changes = {"nodes": options.nodes, "gpus_per_node": options.gpus_per_node}
    site = replace(site, **{key: value for key, value in changes.items() if value is not None})
    report = preflight(site, options.runs, options.data, options.wait)
    if options.json:
        findings = [asdict(finding) for finding in report.findings]
        print(json.dumps({"ok": report.ok, "folder": str(report.folder), "findings": findings}, indent=1))
    else:
        print(announce.preflight_text(report, site))
    return 0 if report.ok else 1


def _probe(options: argparse.Namespace) -> int:
    site = load_site(options.site)
    found = probe(
        site, options.runs, options.data, options.stage, options.protocol, options.seconds, options.wait
    )
    if options.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print(f"{found.tflops:.4g} training TFLOP/s per GPU ({found.source}); estimates on this site use it")
    return 0


def _sites(options: argparse.Namespace) -> int:
    sites = [load_site(name) for name in site_names()]
    if options.json:
        print(json.dumps([{"name": s.name, "description": s.description} for s in sites], indent=1))
    else:
        print("\n".join(aligned([(s.name, s.description) for s in sites])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
