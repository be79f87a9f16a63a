"""What the command lines print: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from roadmap.redaction import public, public_text
from roadmap.text_table import aligned
from roadmap.words import counted
from slurm import budget, submission
from slurm.check import Report
from slurm.overview import Overview, RunStatus
from slurm.progress import duration
from slurm.quoting import shell
from slurm.site import Site
from slurm.submit import Outcome

_HEADINGS = ("run", "state", "epoch", "AP", "left", "GPU-h", "job", "node", "attempts", "last end")
#: Columns of numbers, set flush right.
_NUMBERS = (2, 3, 4, 5, 8)


def status_table(found: Overview, rows: Sequence[RunStatus]) -> str:
    """A study's runs, one line each, and the report jobs that wait."""
    table = "\n".join(aligned([_HEADINGS, *(_cells(row) for row in rows)], _NUMBERS))
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    summary = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no runs"
    used = [row.gpu_hours for row in rows if row.gpu_hours is not None]
    total = f"; {sum(used):.1f} GPU-hours used" if used else ""
    lines = [f"study {found.study}: {summary}{total}", table]
    if found.report_jobs:
        lines.append(f"report: job {', '.join(found.report_jobs)}")
    if found.report_failure:
        lines.append(f"report: FAILED: {found.report_failure}")
    return "\n".join(lines)


def outcome_text(outcome: Outcome, dry_run: bool) -> str:
    """What was submitted, or would be; with ``dry_run`` the exact scripts too."""
    lines: list[str] = []
    if dry_run:
        for name, text in outcome.scripts.items():
            lines += [f"----- {name}", public_text(text.rstrip("\n"))]
        lines.append("-----")
    lines += [f"not submitted: {skipped.run}: {skipped.why}" for skipped in outcome.skipped]
    if outcome.scripts:
        lines.append(budget.describe(outcome.cost))
    for sent in outcome.submissions:
        report = f", report job {sent.report_job}" if sent.report_job is not None else ""
        lines.append(
            f"submitted {counted(len(sent.tasks), 'run')} as job {sent.job}{report} on site {sent.site.name}"
        )
        lines.append(f"kept in {sent.folder}")
    last = outcome.submission
    if last is not None:
        runs = shell(str(last.folder.parents[2]))
        lines.append(f"see: python -m slurm status --study {last.study} --runs {runs}")
    elif not outcome.scripts:
        lines.append("nothing to submit")
    lines += [f"note: {note}" for note in outcome.notes]
    return "\n".join(lines)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The same for programs."""
    sent = outcome.submission
    return {
        "submission": submission.to_json(sent) if sent else None,
        "submissions": [submission.to_json(each) for each in outcome.submissions],
        "skipped": [{"run": s.run, "why": s.why} for s in outcome.skipped],
        "cost": budget.to_json(outcome.cost),
        "scripts": public(outcome.scripts),
        "notes": list(outcome.notes),
    }


def preflight_text(report: Report, site: Site) -> str:
    """What the check job found, and what to fix."""
    lines = []
    for finding in report.merged():
        lines.append(
            f"{'ok    ' if finding.ok else 'FAILED'}  {finding.check}: {finding.detail} [{finding.where}]"
        )
        if not finding.ok:
            lines.append(f"        to fix: {finding.fix}")
    failed = sum(not finding.ok for finding in report.merged())
    verdict = "ready" if report.ok else f"{counted(failed, 'thing')} to fix"
    return "\n".join([*lines, f"site {site.name}: {verdict}; kept in {report.folder}"])


def _cells(row: RunStatus) -> tuple[str, ...]:
    done = row.progress
    epoch = f"{done.epoch}/{done.epochs}" if done.epochs else ""
    ap = "" if done.ap is None else f"{done.ap:.1f}"
    left = "" if row.state == "finished" else duration(done.seconds_left)
    attempts = str(row.attempts) if row.attempts else ""
    used = "" if row.gpu_hours is None else f"{row.gpu_hours:.1f}"
    planned = f"expected to start {_moment(row.expected_start)}" if row.expected_start else ""
    last_end = "; ".join(part for part in (row.last_end, planned) if part)
    return (row.run, row.state, epoch, ap, left, used, row.job, row.node, attempts, last_end)


def _moment(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%d %b %H:%M")
