# shellcheck shell=bash
# usage/NODE.txt gets a line for each container: seconds since 1970, the step that began last, what `docker stats`
# says; and the GPUs' own.
# `docker stats` takes its two seconds.
sample() {
  local own step gpus chosen=() file="$RUN/usage/$SLURMD_NODENAME.txt"
  gpus=${SLURM_STEP_GPUS:-${SLURM_JOB_GPUS:-}}
  # Where cgroups hide the others' GPUs the job's own count from 0, and Slurm's numbers are the node's.
  [ "$(nvidia-smi --list-gpus 2>/dev/null | wc -l)" = "$(tr , '\n' <<<"$gpus" | wc -l)" ] || chosen=(--id="$gpus")
  mkdir -p "$RUN"/usage
  while sleep 0.2; do
    mapfile -t own < <(docker ps -q --filter label=gpulab.job="$SLURM_JOB_ID")
    step=$(sed -n 's/.*"step": "\([^"]*\)", "what": "begins".*/\1/p' "$RUN"/journal | tail -n 1)
    [ ${#own[@]} -gt 0 ] && [ -n "$step" ] || continue
    {
      docker stats --no-stream --format '{{json .}}' "${own[@]}"
      [ -z "$gpus" ] || nvidia-smi "${chosen[@]}" --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits
    } 2>/dev/null | sed "s/^/$(date +%s) $step /" >> "$file"
  done
}
export -f sample
srun --overlap bash -c sample </dev/null >/dev/null 2>&1 &
# shellcheck disable=SC2034 # job.sh stops it
SAMPLER=$!
