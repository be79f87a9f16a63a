"""A study's plan as a job array: the glue between the shared command line and the slurm package."""

from __future__ import annotations

import argparse
import json

from roadmap.redaction import public_uri
from roadmap.text_table import say
from slurm.announce import outcome_json, outcome_text
from slurm.client import SlurmError, why_silent
from slurm.ownership import whose
from slurm.site import Site
from slurm.submission import Task
from slurm.submit import submit
from studies.command.plan import Plan, Planned, folder_arguments
from studies.command.power import power_of, power_text


def submit_study(plan: Plan, site: Site, options: argparse.Namespace) -> int:
    """Submit what of a plan is missing; the exit status. Raises ValueError with Slurm's own reason."""
    if options.again:
        raise ValueError(
            "--again would start a run anew at every requeue; on a cluster move the run's folder away "
            "and submit again"
        )
    refuse_credentials(options.tracking, site)
    study, runs = plan.study.name, plan.runs.absolute()
    tasks = [Task.of(planned.run, cluster_arguments(planned, site, options)) for planned in plan.planned]
    report: tuple[str, ...] = ("-m", "studies.report", "--study", study, "--runs", str(runs))
    if options.tracking:  # the site's is in the job's environment
        report += ("--tracking", options.tracking)
    try:
        outcome = submit(
            study,
            tasks,
            site,
            runs,
            report,
            dry_run=options.dry_run,
            max_gpu_hours=options.max_gpu_hours,
            freeze=options.freeze,
        )
    except SlurmError as error:
        raise ValueError(f"{error}\nto run here, without Slurm: --launcher local") from error
    except OSError as error:
        raise ValueError(f"{error}{whose(error.filename)}; choose another --runs") from error
    power = power_of(plan) if options.dry_run else None
    if options.json:
        document = outcome_json(outcome) | ({"power": power} if power else {})
        say(json.dumps(document, indent=1))
        return 0
    say(outcome_text(outcome, options.dry_run))
    if power:
        say(power_text(power))
    return 0


def refuse_credentials(tracking: str | None, site: Site) -> None:
    """Raises ValueError for credentials in an address that the jobs would be given on their command line."""
    _check_address(tracking, "--tracking")
    _check_address(site.tracking_uri, f"tracking_uri of site {site.name}")


def _check_address(uri: str | None, where: str) -> None:
    """Raises ValueError for credentials that a job script would show to everybody who reads the runs."""
    if uri and public_uri(uri) != uri:
        raise ValueError(
            f"{where} holds a user, password or query, which would stand in the job script; leave it out and "
            "export MLFLOW_TRACKING_URI with the whole address: Slurm hands it on to the jobs"
        )


def no_cluster_here(options: argparse.Namespace) -> str:
    """For a dry run of somebody who named no launcher: why sbatch, which is on PATH, leads nowhere. Empty
    when Slurm answers.
    """
    if not options.dry_run or options.launcher is not None:
        return ""
    silent = why_silent()
    return (
        silent
        and f"sbatch is here, but Slurm does not answer ({silent}). Shown is a run on this machine, "
        "--launcher local; --launcher slurm shows the job scripts."
    )


def cluster_arguments(planned: Planned, site: Site, options: argparse.Namespace) -> tuple[str, ...]:
    """The run's command line, with the site's tracking server where the user names none."""
    words = folder_arguments(planned, options)
    if site.tracking_uri and not options.tracking:
        words += ("--tracking", site.tracking_uri)
    return words
