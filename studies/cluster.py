"""A study's plan as a job array: the glue between the shared command line and the slurm package."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from slurm.announce import outcome_json, outcome_text
from slurm.client import SlurmError
from slurm.site import Site
from slurm.submission import Task
from slurm.submit import submit
from studies.plan import Planned, Study


def submit_study(
    study: Study, plan: list[Planned], root: Path | None, site: Site, options: argparse.Namespace
) -> int:
    """Submit what of a plan is missing; the exit status. Raises ValueError with Slurm's own reason."""
    runs = Path(options.runs).absolute()
    tasks = [
        Task.of(planned.run, task_arguments(study, planned, root, runs, site, options)) for planned in plan
    ]
    report = ("-m", "reports", "--study", study.name, "--runs", str(runs))
    try:
        outcome = submit(
            study.name,
            tasks,
            site,
            runs,
            report,
            dry_run=options.dry_run,
            max_gpu_hours=options.max_gpu_hours,
        )
    except SlurmError as error:
        raise ValueError(str(error)) from error
    if options.json:
        print(json.dumps(outcome_json(outcome), indent=1))
    else:
        print(outcome_text(outcome, options.dry_run))
    return 0


def task_arguments(
    study: Study,
    planned: Planned,
    root: Path | None,
    runs: Path,
    site: Site,
    options: argparse.Namespace,
) -> tuple[str, ...]:
    """What follows the interpreter to carry out one run where it is started; every choice spelled out, so
    that the job does not depend on the environment it happens to get.
    """
    run = planned.run
    words = ["-m", study.module, f"--{study.noun}", run.stage, "--seed", str(run.seed)]
    words += ["--protocol", run.recipe.protocol, "--runs", str(runs), "--launcher", "local", "--no-report"]
    words += ["--data", str(root.absolute())] if root is not None else ["--embedded"]
    if options.imagenet_weights:
        words += ["--imagenet-weights", str(Path(options.imagenet_weights).absolute())]
    if options.device:
        words += ["--device", options.device]
    if options.workers is not None:
        words += ["--workers", str(options.workers)]
    tracking = options.tracking or site.tracking_uri
    if tracking:
        words += ["--tracking", tracking]
    if options.again:
        words.append("--again")
    return tuple(words)
