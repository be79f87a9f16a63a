"""Submit a study of counters from a process of its own: STUDY SEEDS RUNS."""

from __future__ import annotations

import sys
from pathlib import Path

from slurm.submit import submit
from tests.cluster.laboratory import cluster_site, counters, report_command

if __name__ == "__main__":
    study, seeds, runs = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    submit(study, counters(study, seeds, runs), cluster_site(), runs, report_command(study, runs))
