"""The command line that every study shares: which runs, on what data, here or on a cluster.

Heavy libraries are imported only once something is going to run, so that ``--help``, ``--list`` and
``--dry-run`` answer at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roadmap.datasets import embedded_folder
from roadmap.protocols import PROTOCOLS
from roadmap.redaction import PublicFormatter
from roadmap.settings import described
from roadmap.study import MANY, Study
from roadmap.text_table import format_table, say
from roadmap.words import counted
from slurm.launch import choose_launcher
from slurm.site import load_site
from studies.attempt.stopping import FAILED, INTERRUPTED, StopRequest
from studies.command.cluster import no_cluster_here, submit_study
from studies.command.plan import Plan, arm_rows, folder_arguments, make_plan, plan_rows, write_plan
from studies.command.power import power_of, power_text

log = logging.getLogger(__name__)

#: PyTorch's generators take 64 bits, others fewer; nobody needs more seeds than these.
MAX_SEED = 2**32 - 1
#: More data processes than this are a slip of the finger.
MAX_WORKERS = 256


def study_parser(study: Study, command: str) -> argparse.ArgumentParser:
    """Options of a study's command line. command: what the user types."""
    parser = argparse.ArgumentParser(
        prog=command,
        description=study.question,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to run")
    what.add_argument(
        "--only",
        *([] if study.noun == "arm" else [f"--{study.noun}"]),
        dest="only",
        action="append",
        metavar="NAME",
        help=_only_help(study),
    )
    seeds = what.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=_seed, metavar="N", help="run seed N (default 0)")
    seeds.add_argument("--seeds", type=positive, metavar="N", help="run the N seeds 0 … N-1")
    add_setting(what)
    how = parser.add_argument_group("how to run it")
    how.add_argument("--runs", metavar="DIR", default="runs", help="where run records go (default: runs)")
    how.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="runs at a time on this machine (default 1)"
    )
    add_runtime(how)
    how.add_argument("--no-report", action="store_true", help="leave tables and figures as they are")
    add_cluster(parser)
    look = parser.add_argument_group("look first")
    look.add_argument(
        "--list", action="store_true", help=f"list the {study.noun}s and the paper's figures, then stop"
    )
    look.add_argument(
        "--list-settings", action="store_true", help="list what --set and a protocol's file take, then stop"
    )
    look.add_argument(
        "--dry-run", action="store_true", help="show what would run and what it costs, then stop"
    )
    look.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    return parser


def _only_help(study: Study) -> str:
    names = ", ".join(study.names) if len(study.names) <= MANY else "--list names them"
    text = f"these {study.noun}s; may be repeated; default: all, in order ({names})"
    if not study.designs:
        return text
    designs = ", ".join(f"{design.name} ({len(design.arms)})" for design in study.designs)
    return f"{text}; or all of a design: {designs}"


def add_setting(what: argparse._ActionsContainer) -> None:
    """Options that say on what data, under which protocol and from which weights."""
    what.add_argument(
        "--data",
        metavar="DIR",
        help="dataset in COCO's layout (annotations/, train2017/, val2017/) or Roboflow's COCO export "
        "(train/, valid/); python -m studies.convert makes one of YOLO's or Pascal VOC's; default: "
        "$COCO_DIR, else the embedded dataset of drawn shapes",
    )
    what.add_argument(
        "--train-split", metavar="NAME", help="its training split (default: train2017 or train)"
    )
    what.add_argument(
        "--val-split", metavar="NAME", help="its validation split (default: val2017, val or valid)"
    )
    what.add_argument(
        "--embedded", action="store_true", help="use the embedded dataset, whatever $COCO_DIR is"
    )
    what.add_argument(
        "--protocol",
        metavar="NAME|FILE",
        help="training settings: "
        + "; ".join(f"{p.name}: {p.summary}" for p in PROTOCOLS.values())
        + "; or your own TOML file (docs/settings.md). Default: paper when a dataset is given, demo on the "
        "embedded one",
    )
    what.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, for example --set training.epochs=50 --set augmentation.mixup=0; may be "
        "repeated; --list-settings names them all",
    )
    start = what.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        metavar="FILE",
        help="start from a checkpoint, an official one (yolox_*.pth) or ours; what does not fit starts anew",
    )
    start.add_argument(
        "--imagenet-weights",
        metavar="FILE",
        help="DarkNet53 weights for the arms that the paper starts from ImageNet: Darknet's "
        "darknet53.conv.74, timm's or mmdetection's (docs/data.md); without, they start from scratch and "
        "every figure says so",
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Options that say whether runs are carried out here or submitted, and how."""
    cluster = parser.add_argument_group("on a cluster (docs/slurm.md)")
    cluster.add_argument(
        "--launcher",
        choices=("local", "slurm"),
        help="run here or submit; default: slurm where sbatch exists, outside a job",
    )
    cluster.add_argument("--site", metavar="NAME|FILE", help="site profile; default: $YOLOX_SITE")
    cluster.add_argument(
        "--freeze",
        action="store_true",
        help="copy the code beside the submission; all its runs use that",
    )
    cluster.add_argument("--max-gpu-hours", type=float, metavar="H", help="refuse to submit more than this")


def add_runtime(parser: argparse._ActionsContainer) -> None:
    """Options that change how a run is carried out and not what comes out."""
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="data processes per training process; 0: none; default: by the cores",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="keep decoded training images below DIR, on a fast local disk, for all runs and processes; COCO "
        "at 640 px needs 110 GB (docs/decisions/0028-image-cache.md)",
    )
    parser.add_argument(
        "--tracking",
        metavar="URI",
        help="MLflow server, or off; default: $MLFLOW_TRACKING_URI or local SQLite",
    )
    parser.add_argument("--again", action="store_true", help="run finished runs again, from scratch")


def main(study: Study, arguments: Sequence[str] | None = None, command: str = "") -> int:
    """Run a study's command line; the exit status (0 finished, 1 failed, 2 usage, 73 locked, 75 stopped).

    command: what the user types; by default the module of the study's own name.
    """
    command = command or f"python -m studies.{study.name}"
    parser = study_parser(study, command)
    options = parser.parse_args(arguments)
    speak_up()
    try:
        if options.list:
            return _list(study, options.json)
        if options.list_settings:
            return _list_settings(options.json)
        site = load_site(options.site) if choose_launcher(options.launcher) == "slurm" else None
        if site is not None and (why_not := no_cluster_here(options)):
            log.warning("%s", why_not)
            site = None
        plan = make_plan(study, options, command, site.coco if site else "")
        for design in study.choose(options.only or ())[1]:
            log.info("%s: %s\n", design.name, design.summary)
        if is_main_process() and not options.dry_run:
            write_plan(plan)
        if site is not None:
            return submit_study(plan, site, options)
        if options.dry_run:
            return _dry_run(plan, options.json)
        return _run_here(plan, options)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


def speak_up() -> None:
    """Our own log to stderr; other libraries' only when something is wrong."""
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(PublicFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[console])
    for package in ("studies", "reports", "slurm", "roadmap", "yolox_core"):
        logging.getLogger(package).setLevel(logging.INFO)


def _list(study: Study, as_json: bool) -> int:
    rows = arm_rows(study)
    if as_json:
        say(json.dumps(rows, indent=1))
    else:
        say(format_table([{study.noun if k == "arm" else k: v for k, v in row.items()} for row in rows]))
        for design in study.designs:
            say(f"\n--only {design.name}: {counted(len(design.arms), study.noun)}. {design.summary}")
    return 0


def _list_settings(as_json: bool) -> int:
    rows = [asdict(setting) for setting in described()]
    if as_json:
        say(json.dumps(rows, indent=1))
    else:
        say(format_table([{"setting": row.pop("key"), **row} for row in rows]))
    return 0


def _dry_run(plan: Plan, as_json: bool) -> int:
    rows = plan_rows(plan)
    total = sum(row["training_flops"] for row in rows if row["state"] != "finished")
    recipe = plan.planned[0].run.recipe
    power = power_of(plan)
    if as_json:
        document = {
            "study": plan.study.name,
            "protocol": recipe.protocol,
            "dataset": asdict(recipe.dataset),
            "runs": rows,
            "training_flops_to_do": total,
            "power": power,
        }
        say(json.dumps(document, indent=1))
        return 0
    shown = [
        {
            plan.study.noun: row["arm"],
            "seed": row["seed"],
            "state": row["state"],
            "epochs": row["epochs"],
            "iterations": row["iterations"],
            "training PFLOP": f"{row['training_flops'] / 1e15:.4g}",
            "folder": row["folder"],
        }
        for row in rows
    ]
    say(format_table(shown))
    data = recipe.dataset
    say(
        f"\n{recipe.protocol} protocol on {data.name}: {data.train_images} training and "
        f"{counted(data.val_images, 'validation image')}, {counted(data.num_classes, 'class')}.\n"
        f"To do: {total / 1e15:.4g} PFLOP of training (2 × multiply-adds, three forward passes per image)."
    )
    say(power_text(power))
    say("\nNothing was run.")
    return 0


def _run_here(plan: Plan, options: argparse.Namespace) -> int:
    stop = StopRequest()
    with stop.listening():
        carry_out = _one_by_one if options.jobs == 1 or len(plan.planned) == 1 else _several_at_once
        statuses = carry_out(plan, options, stop)
    if INTERRUPTED in statuses.values() or (stop() and len(statuses) < len(plan.planned)):
        return INTERRUPTED
    if is_main_process():
        made = None if options.no_report else report(plan.runs, plan.study.name, options.tracking)
        if options.json:
            say(json.dumps(_outcome(plan, statuses, made), indent=1))
        elif made is not None:
            say(f"{made.summary}\n\n{where(made)}")
    if len(statuses) == 1:
        return next(iter(statuses.values()))
    return FAILED if any(statuses.values()) else 0


def _one_by_one(plan: Plan, options: argparse.Namespace, stop: StopRequest) -> dict[str, int]:
    from studies.attempt.runner import Options, execute
    from yolox_core.training.distributed import join_world

    attempt = Options(
        runs=plan.runs,
        data=plan.data,
        splits=plan.splits,
        embedded=embedded_folder(),
        device=options.device,
        workers=options.workers,
        tracking=options.tracking,
        again=options.again,
        weights=plan.weights,
        cache=Path(options.cache).absolute() if options.cache else None,
    )
    statuses: dict[str, int] = {}
    with join_world(options.device) as world:
        for planned in plan.planned:
            status = execute(planned.run, planned.deviations, attempt, world, stop)
            statuses[planned.run.name] = status
            if status == INTERRUPTED or world.is_lost:  # all agree on the former, not on who got a signal
                break
    return statuses


def _several_at_once(plan: Plan, options: argparse.Namespace, stop: StopRequest) -> dict[str, int]:
    from studies.attempt.share import visible_devices
    from studies.command.parallel import Job, run_jobs

    if plan.data is None:
        from yolox_core.data.shapes import ensure_shapes_dataset

        ensure_shapes_dataset(embedded_folder())  # once, before every job would wait for it
    jobs = [Job(p.folder, folder_arguments(p, options), p.run.recipe.training.epochs) for p in plan.planned]
    return run_jobs(jobs, options.jobs, stop, visible_devices(options.device))


def report(runs: Path, study: str, tracking: str | None) -> Any:
    """Tables and figures of everything finished so far; a report that fails never spoils finished runs."""
    from reports.build import build_report
    from studies.mirror.report import mirror_study

    try:
        made = build_report(runs, study)
    except (OSError, ValueError) as error:
        log.error("no report: %s; python -m reports --runs %s tries again", error, runs)
        return None
    problem = mirror_study(runs, study, tracking)
    if problem:
        log.warning("%s", problem)
    return made


def where(report: Any) -> str:
    """Where to look: the pages, then the figures."""
    pages = [path for path in report.files if path.name in ("report.html", "report.md")]
    figures = [path for path in report.files if path.suffix == ".png"]
    return "\n".join(
        f"{kind}  {path}" for kind, paths in (("report", pages), ("figure", figures)) for path in paths
    )


def _outcome(plan: Plan, statuses: dict[str, int], report: Any) -> dict[str, Any]:
    runs = []
    for planned in plan.planned:
        result = None if planned.folder.problem() else planned.folder.result()
        runs.append(
            {
                "run": planned.run.name,
                "status": planned.folder.state(),
                "exit": statuses[planned.run.name],
                "folder": str(planned.folder.path),
                "best": asdict(result.best) if result else None,
                "last": asdict(result.last) if result else None,
            }
        )
    return {"runs": runs, "report": None if report is None else str(report.out)}


def is_main_process() -> bool:
    """Whether this process is the first of those that work together."""
    rank = "SLURM_PROCID" if os.environ.get("YOLOX_DISTRIBUTED") == "slurm" else "RANK"
    return os.environ.get(rank, "0") == "0"


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"must be from 0 to {MAX_SEED}, not {text}")
    return value


def _workers(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"must be from 0 (none) to {MAX_WORKERS}, not {text}")
    return value


def positive(text: str) -> int:
    """A count on the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
