#!/bin/bash
@{heading}
# Written by python -m slurm. Builds tables and figures from whatever runs have finished. By hand:
#   sbatch --dependency=afterany:JOB FILE
@{directives}

set -o pipefail

python=@{python}

# So that `python -m slurm status` knows how it ended without accounting.
note() {  # event, exit status
    printf '%s\t%s\t%s\t%s\t%s\t%s\t\n' "$(date -u +%FT%TZ)" "$SLURM_JOB_ID" "${SLURMD_NODENAME:-}" \
        "${SLURM_RESTART_COUNT:-0}" "$1" "$2" >> @{history}
}
note start 0
trap 'note end "$?"' EXIT

# The site's environment.
cd @{directory} || exit 66
@{environment}

# Runs that the cluster did not take before.
@{go_on} || echo "slurm: could not submit the runs that wait; python -m slurm resubmit does"

unset SLURM_EXPORT_ENV  # from sbatch --export; it would keep from srun's processes what is set above

@{srun}@{wrapper}"$python" @{command}
status=$?
if [ "$status" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 3 ]; then  # killed, and not with this script
    scontrol requeue "$SLURM_JOB_ID" && echo "slurm: requeued (killed)"
fi
exit "$status"
