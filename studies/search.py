"""Tune settings of a stage or a model, with Optuna: each trial is a run as any other.

    python -m studies.search --list                        the searches that come with the project
    python -m studies.search simota-lr --dry-run           what is tuned, and what it costs
    python -m studies.search simota-lr --trials 64 --at-once 8
    python -m studies.search mine.toml                     a space of your own (docs/search.md)
    python -m studies.search simota-lr --each-stage decoupled-head simota
                                                           both tuned with the same budget: what is gained?
    python -m studies.search --step runs/simota-lr         the next step, by hand

Killed at any moment, the same command goes on. The best figure of a search is an optimistic one, so the best
trials, and what was not tuned, are run again at the end, with seeds that the search never saw.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadmap.planned import read_planned
from roadmap.record import RunFolder
from roadmap.redaction import public_uri
from roadmap.search import SearchRecord, Space, ranked, read_search
from roadmap.search_space import checked_space, find_space, kept_spaces, known_bases, load_space
from roadmap.text_table import format_table, say
from roadmap.typed import to_json
from roadmap.words import counted
from slurm.launch import choose_launcher
from slurm.site import Site, load_site
from slurm.submission import read_submissions
from studies.attempt.stopping import FAILED, INTERRUPTED, StopRequest
from studies.command.cli import add_cluster, add_runtime, add_setting, positive, speak_up, where
from studies.command.cli import report as make_report
from studies.command.cluster import no_cluster_here, refuse_credentials
from studies.command.plan import Planned, folder_arguments
from studies.searching import planning

log = logging.getLogger("studies.search")  # also as the module that is run, which is called otherwise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to search")
    what.add_argument(
        "space", nargs="?", metavar="SPACE", help=f"a file, or one of: {', '.join(kept_spaces())}"
    )
    what.add_argument(
        "--trials", type=positive, metavar="N", help="budget of each stage (default: the space's)"
    )
    what.add_argument(
        "--at-once", type=positive, metavar="N", help="trials under way together (default: the space's)"
    )
    what.add_argument(
        "--each-stage",
        nargs="+",
        metavar="NAME",
        help="tune each of these stages or models with the whole budget, instead of the space's base",
    )
    what.add_argument("--name", help="of the search below --runs (default: the space's)")
    what.add_argument(
        "--storage",
        metavar="URL",
        help="Optuna's storage, or off; default: $OPTUNA_STORAGE or SQLite beside the record; a copy for "
        "optuna-dashboard that may be lost",
    )
    add_setting(what)
    how = parser.add_argument_group("how to run it")
    how.add_argument("--runs", metavar="DIR", default="runs", help="where run records go (default: runs)")
    add_runtime(how)
    how.add_argument("--no-report", action="store_true", help="leave tables and figures as they are")
    how.add_argument(
        "--look-every",
        type=float,
        metavar="S",
        help="seconds between two looks of a pruner on a cluster (default 300)",
    )
    how.add_argument(
        "--step", type=Path, metavar="FOLDER", help="take one step of the search in runs/NAME, then stop"
    )
    add_cluster(parser)
    look = parser.add_argument_group("look first")
    look.add_argument("--list", action="store_true", help="list the searches that come with the project")
    look.add_argument(
        "--dry-run", action="store_true", help="show what would run and what it costs, then stop"
    )
    look.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status (0 done or submitted, 1 no trial finished, 2 usage, 75 stopped)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    speak_up()
    try:
        if options.list:
            return _list(options.json)
        if options.step is not None:
            return _step(options.step)
        if options.space is None:
            raise ValueError(f"name a space's file, or one of: {', '.join(kept_spaces())}")
        return _search(options)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


def _list(as_json: bool) -> int:
    spaces = {name: load_space(path) for name, path in kept_spaces().items()}
    shown = [
        {
            "search": name,
            "base": ", ".join(space.base),
            "objective": ", ".join(objective.name for objective in space.objectives),
            "sampler": space.sampler,
            "trials": space.trials,
            "what": space.summary,
        }
        for name, space in spaces.items()
    ]
    say(json.dumps(shown, indent=1) if as_json else format_table(shown))
    return 0


def _search(options: argparse.Namespace) -> int:
    if options.again:
        raise ValueError("--again would train every trial again; give the search another --name")
    path = find_space(options.space)
    space = _asked(load_space(path), options)
    name = options.name or "-".join([path.stem, *(space.base if options.each_stage else ())])
    site = load_site(options.site) if choose_launcher(options.launcher) == "slurm" else None
    if site is not None and (why_not := no_cluster_here(options)):
        log.warning("%s", why_not)
        site = None
    command = f"python -m studies.search {options.space}"
    if options.each_stage:
        command += f" --each-stage {' '.join(options.each_stage)}"
    record = planning.new_record(space, name, options, command, site.coco if site else "")
    record = replace(record, how=record.how | {"launcher": "slurm" if site else "local"})
    folder = (Path(options.runs) / name).absolute()
    if site is not None:
        refuse_credentials(options.tracking, site)
        planning.check_budget(record, site, folder.parent, options.max_gpu_hours)
    if options.dry_run:
        if options.json:
            say(
                json.dumps(
                    {"search": name, "space": to_json(space), "runs": len(planning.tasks(record))}, indent=1
                )
            )
        else:
            say(planning.description(record, site, folder.parent) + "\n\nNothing was run.")
        return 0
    from studies.searching import storage
    from studies.searching.controller import one_at_a_time

    url = storage.address(options.storage, folder)
    with one_at_a_time(folder):  # two that make its tables at once would fail
        storage.check(url)
    record = replace(record, storage=public_uri(url))
    if site is not None:
        return _one_step(folder, record, site, url, options.json)
    return _here(folder, record, url, options)


def _asked(space: Space, options: argparse.Namespace) -> Space:
    """The space with what the command line says otherwise."""
    if options.each_stage:
        space = replace(space, base=known_bases(options.each_stage))
    if options.trials:
        space = replace(space, trials=options.trials)
    if options.at_once:
        space = replace(space, at_once=options.at_once)
    return checked_space(space)


def _step(folder: Path) -> int:
    """One step of a search that has begun, as its record says."""
    from studies.searching import storage

    folder = folder.absolute()
    record = read_search(folder)
    if record is None:
        raise ValueError(f"{folder} holds no search; start it with its space: python -m studies.search FILE")
    url = storage.address(None, folder) if storage.is_default(record.storage, folder) else record.storage
    how = argparse.Namespace(**{**dict.fromkeys(planning.KEPT), **record.how})
    if how.launcher == "slurm":
        sent = read_submissions(folder.parent, record.name)
        return _one_step(folder, None, sent[-1].site if sent else load_site(how.site), url, False)
    return _here(folder, None, url, how, once=True)


def _one_step(folder: Path, given: SearchRecord | None, site: Site, url: str, as_json: bool) -> int:
    """A step on a cluster; the report when it was the last one."""
    from studies.searching.cluster import TYPE, Cluster
    from studies.searching.controller import step

    known = given or read_search(folder)
    assert known is not None
    how = argparse.Namespace(**{**dict.fromkeys(planning.KEPT), **known.how})
    tracking = how.tracking or site.tracking_uri or None
    words = argparse.Namespace(**{**vars(how), "tracking": tracking, "again": False})
    launcher = Cluster(folder, site, lambda run: _arguments(run, words), how)
    done = step(folder, launcher, url, given)
    said = list(done.said)
    while launcher.overtaken:
        before, done = done.record, step(folder, launcher, url)
        said += done.said
        if launcher.overtaken and done.record == before:  # Slurm has lost what we take to be under way
            said.append(launcher.by_hand)
            break
    for sentence in said:
        log.info("%s", sentence)
    _tell(folder, done.record, how, as_json)
    return FAILED if any(sentence.startswith(TYPE) for sentence in said) else _status(done.record)


def _here(
    folder: Path, given: SearchRecord | None, url: str, how: argparse.Namespace, once: bool = False
) -> int:
    """Step after step on this machine, to the end of the search; once: to the end of the runs of one step."""
    from studies.attempt.share import visible_devices
    from studies.searching.controller import step
    from studies.searching.local import Local

    known = given or read_search(folder)
    assert known is not None
    if not known.inputs.get("data"):
        from roadmap.datasets import embedded_folder
        from yolox_core.data.shapes import ensure_shapes_dataset

        ensure_shapes_dataset(embedded_folder())  # once, before every trial would wait for it
    words = argparse.Namespace(**{**vars(how), "again": False})
    launcher = Local(folder.parent, lambda run: _arguments(run, words), visible_devices(how.device))
    stop = StopRequest()
    told: set[str] = set()
    with stop.listening():
        try:
            record = _one(step(folder, launcher, url, given), told)
            while not stop() and record.phase != "finished" and not (once and not launcher.busy):
                launcher.wait(stop, record)
                if not stop():
                    record = _one(step(folder, launcher, url, None, start=not once), told)
        finally:
            launcher.stop()
    if stop():
        log.info("stopped; the same command goes on")
        return INTERRUPTED
    _tell(folder, record, how, bool(getattr(how, "json", False)))
    return _status(record)


def _one(done: Any, told: set[str]) -> SearchRecord:
    """Say what is new."""
    for sentence in done.said:
        if sentence not in told:
            log.info("%s", sentence)
            told.add(sentence)
    return done.record


def _arguments(folder: RunFolder, options: argparse.Namespace) -> tuple[str, ...]:
    planned = read_planned(folder)
    return folder_arguments(Planned(planned.run, folder, planned.deviations), options)


def _status(record: SearchRecord) -> int:
    ended = record.phase == "finished"
    return FAILED if ended and not any(t.state == "finished" for t in record.trials) else 0


def _tell(folder: Path, record: SearchRecord, how: argparse.Namespace, as_json: bool) -> None:
    """Where the search is; at its end the report too."""
    made = None
    if record.phase == "finished" and not how.no_report:
        from studies.searching.importances import refresh

        if problem := refresh(folder):
            log.warning("%s", problem)
        made = make_report(folder.parent, record.name, how.tracking)
    if as_json:
        say(json.dumps(to_json(record), indent=1))
        return
    say(summary(record))
    if made is not None:
        say(f"\n{made.summary}\n\n{where(made)}")


def summary(record: SearchRecord) -> str:
    """A search in a few lines for a terminal."""
    states: dict[str, int] = {}
    for trial in record.trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    lines = [f"search {record.name}: {record.phase}; {counted(len(record.trials), 'trial')}: {counts}"]
    for base in record.space.base:
        for trial in ranked(record.space, record.of(base))[: max(1, record.space.best)]:
            assert trial.values is not None
            pairs = zip(record.space.objectives, trial.values, strict=True)
            values = ", ".join(f"{objective.name} {value:.4g}" for objective, value in pairs)
            point = ", ".join(f"{key} = {value}" for key, value in trial.parameters.items())
            lines.append(f"  {trial.arm}: {values} (the search's own, optimistic): {point}")
    lines += [f"  {t.arm} {t.state}: {t.reason}" for t in record.trials if t.state == "failed"]
    if record.confirmations:
        over = sum(each.ended for each in record.confirmations)
        lines.append(f"  run again with fresh seeds: {over} of {len(record.confirmations)} over")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
