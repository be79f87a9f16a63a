#!/bin/bash
@{heading}
# Written by python -m slurm. To submit it again by hand, as a whole or only some tasks:
#   sbatch FILE          sbatch --array=3,5 FILE
# A run that is already finished, or that another job works on, is not started twice.
@{directives}

set -o pipefail  # and not -u, which the setup scripts of many sites do not survive

# This submission's script, tasks, logs and history; the records of the runs; the interpreter.
folder=@{folder}
runs=@{runs}
python=@{python}

task=${SLURM_ARRAY_JOB_ID:?submit this file with sbatch}_$SLURM_ARRAY_TASK_ID
index=$SLURM_ARRAY_TASK_ID
restarts=${SLURM_RESTART_COUNT:-0}

# One line per event, so that `python -m slurm status` knows what happened without accounting.
history=$folder/history/$index.tsv
note() {  # event, exit status, why
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' \
        "$(date -u +%FT%TZ)" "$task" "${SLURMD_NODENAME:-}" "$restarts" "$1" "$2" "$3" >> "$history"
}

# Slurm warns with USR1 @{lead} s before the time limit and with TERM before it preempts. The run writes a
# checkpoint at its next iteration and exits with 75. We pass both on as USR1: TERM makes srun kill the run.
step=
signalled=
warn() {
    signalled=$1
    echo "slurm: got $1, asking the run to write a checkpoint"
    if [ -n "$step" ]; then kill -USR1 "$step"; fi
}
trap 'warn USR1' USR1
trap 'warn TERM' TERM

# Put this task, and never its siblings, back in the queue. Only while Slurm calls it RUNNING: a task that
# was cancelled, or that Slurm requeues itself, is not ours to bring back.
requeue() {  # why
    local state pause
    for pause in 1 2 5 10 20 30 0; do  # slurmctld may be restarting
        state=$(squeue --noheader --jobs="$task" --format=%T) && break
        sleep "$pause"
    done
    if [ "$state" != RUNNING ]; then
        echo "slurm: not requeued, Slurm says '$state' of this task"
    elif [ "$restarts" -ge @{max_requeues} ]; then
        give_up "this was restart @{max_requeues}, the last one (max_requeues of the site)"
    elif [ "$idle" -ge 2 ]; then
        give_up "two attempts in a row made no progress: no epoch, no checkpoint"
    elif scontrol requeue "$task"; then
        echo "slurm: requeued ($1)"
        exit 0
    else
        echo "slurm: could not requeue; go on with: python -m slurm resubmit"
    fi
}
requeue_at_most() {  # times, why; nothing is requeued that cannot be counted
    if note requeue "$status" "$2" &&
        [ "$(grep -c "$(printf '\trequeue\t[0-9]*\t%s$' "$2")" "$history")" -le "$1" ]; then
        requeue "$2"
    else
        give_up "$2 more than $1 times"
    fi
}
give_up() {  # why
    echo "slurm: not requeued, $1"
    note over "$status" "$1"
}
# What changes with every epoch and every checkpoint.
how_far() {
    ls "$run/checkpoints" 2> /dev/null
    wc -l 2> /dev/null < "$run/metrics.jsonl"
}

# Whatever ends this script before the run is on record failed to start it: no fault of the run's.
note start 0 ""
trap 'note end "$?" launch' EXIT

# The site's environment.
cd @{directory} || exit 66
@{environment}
# The user's own formats and filters would change what Slurm's commands answer here; SLURM_EXPORT_ENV (from
# sbatch --export) would keep from the run's processes what is set above.
unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_EXPORT_ENV

# Our run and its command line: the line that begins with our index.
run=
while read -r number name words; do
    if [ "$number" = "$index" ]; then run=$runs/$name && eval "command=($words)"; fi
done < "$folder/tasks.txt"
if [ -z "$run" ]; then echo "slurm: no task $index in $folder/tasks.txt"; exit 65; fi
echo "slurm: $(date -u +%FT%TZ) task $task on ${SLURM_JOB_NODELIST:-?}, restart $restarts: ${command[*]}"
attempts=$run/attempts.jsonl
before=$(wc -l 2> /dev/null < "$attempts" || echo 0)
far_before=$(how_far)

# Input sides change every ten iterations; memory in fixed blocks would not fit the next side.
export PYTORCH_CUDA_ALLOC_CONF=${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}

# One process per GPU, in the background, so that signals reach this shell while it waits.
status=75
if [ -z "$signalled" ]; then
    srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" @{srun_options}@{wrapper}"$python" "${command[@]}" &
    step=$!
    if [ -n "$signalled" ]; then kill -USR1 "$step"; fi  # warned before its number was known
    while :; do
        wait "$step"
        kill -0 "$step" 2> /dev/null || break  # else a signal woke us and the run still works
    done
    wait "$step"
    status=$?
    step=
fi

# How it ended: by the run's own record, where this attempt has left an end, for srun reports the worst of all
# processes, and a signal may kill one that has already finished.
trap - EXIT
reason=$(tail -n "+$((before + 1))" "$attempts" 2> /dev/null | tail -n 1 |
    sed -n 's/.*"event": "end".*"reason": "\([a-z-]*\)".*/\1/p')
if [ "$status" -gt 128 ] && [ "$reason" = finished ]; then status=0; fi
case $status in 0 | 2 | 73 | 75) ;; *)
    if [ "$status" -le 128 ] && [ "$(wc -l 2> /dev/null < "$attempts" || echo 0)" -le "$before" ]; then
        reason=launch  # srun, the container or the interpreter failed before the run began
    fi ;;
esac
if [ "$status" -eq 0 ] && [ ! -e "$run/result.json" ] && [ ! -e "$run/stop.json" ]; then
    echo "slurm: the command ended well, but there is no $run/result.json: this run is not finished"
    status=70 reason=no-result
fi
note end "$status" "${reason:-$signalled}"

# Attempts in a row that made no progress; one that waited for a lock was none.
idle=0
if [ "$status" -eq 73 ]; then :
elif [ "$(how_far)" != "$far_before" ]; then note progress "$status" ""
elif note idle "$status" ""; then
    idle=$(awk -F '\t' '$5 == "progress" {n = 0} $5 == "idle" {n++} END {print n}' "$history")
else
    idle=2  # nothing is requeued that cannot be counted
fi

if [ "$status" -eq 75 ] || { [ "$status" -gt 128 ] && [ "$reason" = signal ]; }; then
    requeue checkpointed
elif [ "$status" -eq 73 ]; then  # another process holds the run, on a lost node perhaps: look again later
    requeue_at_most 10 locked
elif [ "$status" -gt 128 ] && [ -z "$reason" ]; then  # killed, by someone or before it could heed a warning
    if [ -n "$signalled" ]; then requeue interrupted; else note requeue "$status" killed; requeue killed; fi
else
    if [ "$status" -eq 0 ]; then echo "slurm: finished"; fi
    note over "$status" ""
fi
# Where a study has several arrays, the limit on its running tasks is shared out anew.
set -- "$runs"/submissions/*/
if [ $# -gt 1 ]; then @{balance} > /dev/null 2>&1; fi
exit "$status"
