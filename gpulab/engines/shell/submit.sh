# shellcheck shell=bash
# FOLDER: submit the plan.sh in it, and say the job's number. What the job is handed on comes by standard input, so it
# is in no argument list. A shared folder may need a moment. Of a job that Slurm refuses nothing is left.
set -a; eval "$(cat)"; set +a
for _ in $(seq 30); do [ -f "$1/plan.sh" ] && break; sleep 1; done
cd "$1" && sbatch --parsable --output=logs/job.log plan.sh "$1" && exit
cd / && rm -rf "${1:?}"
exit 1
