#!/bin/bash
@{heading}
# Written by python -m slurm. One process per GPU, as in a training job.
@{directives}

set -o pipefail

python=@{python}

# The site's environment.
cd @{directory} || exit 66
@{environment}
unset SLURM_EXPORT_ENV  # from sbatch --export; it would keep from srun's processes what is set above

exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" @{srun_options}@{wrapper}"$python" @{command}
