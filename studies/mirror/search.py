"""A search in MLflow: a run that its trials lie below, with what the search claims and what fresh seeds say.

Trials are the children of one run per base (tag ``kind = search``), so that they are compared with each other
and with nothing else. The base and the best trials with their fresh seeds are arms like any other.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from reports.blocks import plain
from reports.pages.search import WHICH_IS_WHICH, headline, how
from reports.records.search import BaseSearch, read_searches
from reports.tables.search import Judged, judge
from roadmap.typed import to_json
from studies.mirror.arms import NOTE
from studies.mirror.groups import find_or_create_experiment, find_runs, log_params
from studies.mirror.store import store_lock


def find_or_create_search(client: Any, experiment: str, study: str, base: str, start: int) -> str:
    """Run id of the parent of a base's trials; call it under the store's lock. start: milliseconds."""
    found = find_runs(client, experiment, kind="search", base=base)
    if not found:
        tags = {"kind": "search", "study": study, "base": base}
        found = [client.create_run(experiment, start, tags, f"search of {base}")]
        client.set_terminated(found[0].info.run_id, "FINISHED", end_time=start)
    first, *copies = found
    for other in copies:  # of a process that does not share the folder
        for child in find_runs(client, experiment, **{"mlflow.parentRunId": other.info.run_id}):
            client.set_tag(child.info.run_id, "mlflow.parentRunId", first.info.run_id)
        client.delete_run(other.info.run_id)
    return first.info.run_id


def attach_search(client: Any, uri: str, runs: Path, study: str) -> bool:
    """Write to each search's run what it came to; whether anything was sent.

    Raises ValueError for a broken search.json, and mlflow's errors.
    """
    sent = False
    for search in read_searches(runs, study):
        judged = judge(search)
        digest = hashlib.sha256(json.dumps(to_json(search.record), sort_keys=True).encode()).hexdigest()[:16]
        now = round(1000 * time.time())
        with store_lock(runs):
            experiment = find_or_create_experiment(client, uri, runs, study)
            run_id = find_or_create_search(client, experiment, study, search.base, now)
        known = client.get_run(run_id).data
        if known.tags.get("mirrored") == digest:
            continue
        if not known.params:  # MLflow keeps a parameter as it was first
            log_params(client, run_id, _params(search))
        _log(client, run_id, _figures(judged), now)
        note = f"{how(search)}\n\n**{plain(headline(judged))}**\n\n{WHICH_IS_WHICH}"
        answer = judged.reruns[0].answer if judged.reruns else ""
        for key, value in {NOTE: note, "answer": answer, "mirrored": digest}.items():
            client.set_tag(run_id, key, value)
        sent = True
    return sent


def _log(client: Any, run_id: str, figures: dict[str, float], now: int) -> None:
    """The figures; the step is the number of trials and fresh runs that have finished."""
    from mlflow.entities import Metric

    step = int(figures["trials_finished"] + figures["fresh_runs"])
    client.log_batch(run_id, metrics=[Metric(key, value, now, step) for key, value in figures.items()])
    client.set_terminated(run_id, "FINISHED", end_time=now)


def _params(search: BaseSearch) -> dict[str, str]:
    space = search.record.space
    ranges = {
        f"space.{p.key}": ", ".join(map(str, p.choices)) if p.kind == "choice" else
        f"{p.low:g} to {p.high:g}{' (log)' if p.log else ''}"
        for p in space.parameters
    }  # fmt: skip
    sought = ", ".join(f"{o.name} {o.direction}" for o in space.objectives)
    return {
        "base": search.base, "sampler": space.sampler, "pruner": space.pruner, "seed": str(space.seed),
        "trials": str(space.trials), "objectives": sought, **ranges,
    }  # fmt: skip


def _figures(judged: Judged) -> dict[str, float]:
    """What it came to. ``…_search`` is the search's own figure, too good by luck; ``…_fresh`` is not."""
    search, name = judged.search, judged.search.objectives[0].name
    states = [trial.state for trial in search.trials]
    fresh = [c for c in search.record.confirmations if c.base == search.base and c.values is not None]
    found: dict[str, float | None] = {
        **{f"trials_{state}": float(states.count(state)) for state in ("finished", "stopped", "failed")},
        "fresh_runs": float(len(fresh)),
    }
    if judged.reruns:
        first = judged.reruns[0]
        found |= {f"{name}_search": first.claimed, "too_good_by": first.optimism}
        if first.fresh is not None:
            found[f"{name}_fresh"] = first.fresh.mean
            if first.fresh.interval is not None:
                found[f"{name}_fresh_low"] = first.fresh.interval.low
                found[f"{name}_fresh_high"] = first.fresh.interval.high
        if first.gain is not None:
            found["gain_fresh"] = first.gain.mean
    return {key: value for key, value in found.items() if value is not None}
