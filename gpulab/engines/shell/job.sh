# shellcheck shell=bash
NETWORK=gpulab-$SLURM_JOB_ID
OWNER=$(id -u):$(stat -c %g "$SHARED"/runs)
umask 002
mkdir -p "$RUN"/logs "$RUN"/.judged
mkdir -p "$SHARED"/models/twins || { echo "join the group $(stat -c %G "$SHARED"/runs)" >&2; exit 2; }
[ -d "$RUN"/.lab ] || sed '1,/^__FILES__$/d' "$0" | base64 -d | tar -xz -C "$RUN"
docker image inspect "$IMAGE" >/dev/null || { echo "$SLURMD_NODENAME cannot use $IMAGE, see above" >&2; exit 2; }
say() { printf '{"step": "%s", "what": "%s", "status": %d}\n' "$1" "$2" "${3:-0}" >> "$RUN"/journal; }
finished() { grep -qs "\"$1\", \"what\": \"done\"" "$RUN"/journal; }
fail() { say "$1" failed "$2"; exit "$2"; }
stop() { docker rm --force "$@" >/dev/null; }
clean() {
  docker ps -aq --filter label=gpulab.job="$SLURM_JOB_ID" | xargs -r docker rm --force
  docker network ls -q --filter label=gpulab.job="$SLURM_JOB_ID" | xargs -r docker network rm
}
# Slurm numbers a node's GPUs by their device files, containers by the driver's order: a UUID names the same one to both.
uuid() {
  awk -v minor="$1" '/^GPU UUID/ {uuid = $3} /^Device Minor/ && $3 == minor {print uuid}' \
    "${NVIDIA_GPUS:-/proc/driver/nvidia/gpus}"/*/information 2>/dev/null || true
}
# The job's own GPUs, as docker takes them.
gpus() {
  local gpu number
  GPUS=()
  for number in $(tr , ' ' <<<"${SLURM_STEP_GPUS:-${SLURM_JOB_GPUS:-}}"); do
    gpu=$(uuid "$number")
    gpu=${gpu:-$number}
    if [ "$GPUS_BY" = cdi ]; then GPUS+=(--device "nvidia.com/gpu=$gpu"); else GPUS+=(--gpus "device=$gpu"); fi
  done
}
# resume FOLDER WORLD FLAGS: after a node failure, or of a run that resumes another, from the last whole checkpoint.
resume() {
  LAST=()
  [ -n "$(find "$1" -name 'checkpoint-*' -print -quit 2>/dev/null)" ] || return 0
  local whole
  whole=$(helper "$LAB"/gpulab/inside/checkpoints.py "$1" "$2" </dev/null)
  shift 2
  # shellcheck disable=SC2034 # the step's own function takes it
  [ -z "$whole" ] || LAST=("${@//CHECKPOINT/"$whole"}")
}
judge() {
  [ -f "$RUN"/.questions/"$1".json ] || return 0
  helper -m gpulab.checks < "$RUN"/.questions/"$1".json > "$RUN"/.judged/"$1".json || fail "$1" $?
  grep -q '"failures": \[\]' "$RUN"/.judged/"$1".json || { say "$1" unproven; exit 1; }
}
# everywhere FUNCTION LOG: on every node. While none says a word the first asks whether it reaches the others: a library
# may wait for hours for one that is cut off.
everywhere() {
  export -f "${1?}"
  srun --label --kill-on-bad-exit=1 bash -euc "$1" </dev/null >> "$2" 2>&1 &
  local all=$! asking status=0
  end_when_apart $all "$2" >/dev/null 2>&1 &
  asking=$!
  wait $all || status=$?
  kill $asking 2>/dev/null || true
  return $status
}
end_when_apart() {
  local nodes node address said why
  mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  while sleep 10; do
    [ $(($(date +%s) - $(stat -c %Y "$2"))) -ge "$QUIET" ] || continue
    for node in "${nodes[@]:1}"; do
      address=$(address "$node")
      said=$(timeout 6 bash -c "</dev/tcp/$address/$MASTER_PORT" 2>&1) || case "$?$said" in
        *refused*) ;;  # it came through
        *)
          why=${said##*: }
          echo "$FIRST does not reach $node at $address any more (${why:-timed out})" >> "$2"
          kill -KILL "$1"
          return
          ;;
      esac
    done
  done
}
address() { scontrol --oneliner show node "$1" | sed 's/.* NodeAddr=\([^ ]*\).*/\1/'; }
# Of nodes that work together: where the first listens, on a port of the job's own, and the interface to it.
read -r FIRST < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=$(address "$FIRST")
MASTER_PORT=$((29400 + SLURM_JOB_ID % 200))
# What the host's nccl.conf sets beside it is handed on: containers do not see the file.
meet() {
  local conf=${NCCL_CONF_FILE:-/etc/nccl.conf}
  # shellcheck disable=SC2034 # the step's own function takes it
  mapfile -t NCCL < <(sed -n '/^NCCL_SOCKET_IFNAME=/d; s/^NCCL_[A-Z0-9_]*=./--env=&/p' "$conf" 2>/dev/null)
  IFNAME=$(sed -n 's/^NCCL_SOCKET_IFNAME=//p' "$conf" 2>/dev/null || true)
  [ -n "$IFNAME" ] || IFNAME=$(ip -o route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')
}
export RUN LAB IMAGE OWNER NETWORK MASTER_ADDR MASTER_PORT GPUS_BY
export -f uuid gpus resume meet helper
trap 'kill "${SAMPLER:-}" 2>/dev/null || true; clean >/dev/null' EXIT
clean >/dev/null  # what a job of this number left before it was queued again
docker network create --label gpulab.job="$SLURM_JOB_ID" "$NETWORK" >/dev/null
