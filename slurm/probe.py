"""Measure what a GPU of the site sustains, by a minute of real training in a short job."""

from __future__ import annotations

from pathlib import Path

from roadmap.record import read_json, write_json
from slurm.budget import Throughput, known_throughput, probe_file
from slurm.client import SlurmError
from slurm.errand import errand_folder, run_errand
from slurm.site import Site


def probe(
    site: Site,
    runs: Path,
    data: str | None,
    stage: str,
    protocol: str | None,
    seconds: float,
    patience: float,
) -> Throughput:
    """Run ``studies.attempt.probe`` in a job like a training job; keep what it measured for later estimates.

    Raises SlurmError when Slurm refuses, the job does not end in ``patience`` seconds, or measured nothing.
    """
    folder = errand_folder("probe", runs)
    output = folder / "probe.json"
    arguments = [
        "-m",
        "studies.attempt.probe",
        "--stage",
        stage,
        "--seconds",
        f"{seconds:g}",
        "--output",
        str(output),
    ]
    if data or site.coco:
        arguments += ["--data", data or site.coco]
    if protocol is not None:
        arguments += ["--protocol", protocol]
    errand = run_errand("probe", arguments, site, folder, patience)
    measured = read_json(output)
    if measured is None:
        raise SlurmError(
            f"the probe measured nothing (job {errand.job}: {errand.state} {errand.reason}); its log ends:\n"
            f"{errand.log()}"
        )
    kept = probe_file(runs, site)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, measured)
    known = known_throughput(site, runs)
    assert known is not None
    return known
