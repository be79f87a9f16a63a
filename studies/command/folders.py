"""Carry out runs as their folders describe them: what a job on a cluster, or one of ``--jobs``, does."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from roadmap.datasets import EMBEDDED_NAME, describe_dataset, embedded_folder, resolve_dataset
from roadmap.planned import Inputs, PlannedRun, read_planned
from roadmap.record import RunFolder, now, write_json
from studies.attempt.stopping import FAILED, INTERRUPTED, StopRequest
from studies.command.cli import add_runtime, is_main_process, speak_up
from studies.command.plan import file_identity

log = logging.getLogger(__name__)

#: Exit status of a run whose recipe cannot be carried out; nothing was started.
REFUSED = 2


def run_folders(arguments: Sequence[str]) -> int:
    """Carry out the runs of some folders; the exit status (0 finished, 1 failed, 2 refused, 73 locked,
    75 stopped).
    """
    options = _parser().parse_args(arguments)
    speak_up()
    stop = StopRequest()
    with stop.listening():
        statuses = _carry_out([RunFolder(path.absolute()) for path in options.folders], options, stop)
    if INTERRUPTED in statuses:
        return INTERRUPTED
    if len(statuses) == 1:
        return statuses[0]
    return FAILED if any(statuses) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.run",
        description=__doc__,
        epilog="What runs is in recipe.json (docs/record.md).",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a planned run")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where its dataset lies now")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="where its starting weights lie now")
    add_runtime(parser)
    return parser


def _carry_out(folders: Sequence[RunFolder], options: argparse.Namespace, stop: StopRequest) -> list[int]:
    ready = [(folder, _prepare(folder, options)) for folder in folders]
    if all(prepared is None for _, prepared in ready):
        return [REFUSED for _ in ready]
    from studies.attempt.runner import Options, execute
    from yolox_core.training.distributed import join_world

    statuses = []
    with join_world(options.device) as world:
        for folder, prepared in ready:
            if prepared is None:
                statuses.append(REFUSED)
                continue
            planned, inputs = prepared
            attempt = Options(
                runs=folder.path.parent.parent,
                data=inputs.data,
                embedded=embedded_folder(),
                device=options.device,
                workers=options.workers,
                tracking=options.tracking,
                again=options.again,
                weights=inputs.weights,
                cache=Path(options.cache).absolute() if options.cache else None,
                splits=inputs.splits,
            )
            statuses.append(execute(planned.run, planned.deviations, attempt, world, stop))
            if statuses[-1] == INTERRUPTED or world.is_lost:
                break
    return statuses


def _prepare(folder: RunFolder, options: argparse.Namespace) -> tuple[PlannedRun, Inputs] | None:
    """What to run and where its files are; None when it is refused, which is said and recorded."""
    try:
        planned = read_planned(folder)
        splits = planned.inputs.splits if planned.inputs else None
        return planned, Inputs(
            _data(planned, options.data, splits), _weights(planned, options.weights), splits
        )
    except ValueError as error:
        log.error("refused: %s", error)
        if is_main_process():
            _record(folder, str(error))
        return None


def _data(planned: PlannedRun, given: Path | None, splits: tuple[str, str] | None) -> Path | None:
    """The dataset's folder, None for the embedded one. Raises ValueError unless it is the recipe's."""
    wanted = planned.run.recipe.dataset
    known = given or (planned.inputs.data if planned.inputs else None)
    if known is None and wanted.name != EMBEDDED_NAME:
        raise ValueError(f"where {wanted.name} lies is not on record; say it with --data DIR")
    root = resolve_dataset(str(known), *(splits or ())) if known else None
    found = describe_dataset(root, splits)
    if found.fingerprint != wanted.fingerprint:
        raise ValueError(
            f"the dataset in {known or 'the embedded folder'} is not the recipe's: its fingerprint is "
            f"{found.fingerprint}, planned was {wanted.fingerprint} ({wanted.name}); bring that back, or "
            "plan the study again"
        )
    return known


def _weights(planned: PlannedRun, given: Path | None) -> Path | None:
    """The file that training starts from, None for random weights. Raises ValueError unless it is the
    recipe's.
    """
    kind, _, wanted = planned.run.recipe.training.pretrained.partition(":")
    if not kind:
        return None
    known = given or (planned.inputs.weights if planned.inputs else None)
    if known is None:
        raise ValueError("where the starting weights lie is not on record; say it with --weights FILE")
    if (found := file_identity(known)) != wanted:
        raise ValueError(
            f"{known} is not what the recipe starts from: it is {found}, planned was {wanted}; bring that "
            "back, or plan the study again"
        )
    return known


def _record(folder: RunFolder, reason: str) -> None:
    """Say in the record why nothing was started, where there is a record that nobody works on."""
    if not (folder.path / "recipe.json").exists() or folder.is_locked() or folder.state() == "finished":
        return
    try:
        write_json(folder.path / "failure.json", {"kind": "refused", "message": reason, "time": now()})
    except OSError as error:
        log.error("and it could not be recorded: %s", error)
