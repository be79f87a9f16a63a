#!/bin/bash
@{heading}
# Written by python -m slurm. Builds tables and figures from whatever runs have finished. By hand:
#   sbatch --dependency=afterany:JOB FILE
@{directives}

set -o pipefail

python=@{python}

# The site's environment.
cd @{directory} || exit 66
@{environment}

exec @{wrapper}"$python" @{command}
