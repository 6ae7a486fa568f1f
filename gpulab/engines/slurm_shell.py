"""A run as one Slurm job: the script that sbatch takes. It carries the lab's files, so it can be submitted by hand.

After a node failure Slurm starts it anew on another node: what is done is passed over, and the step that was cut off
goes on from its last whole checkpoint.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

from gpulab.common.paths import ROOT
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.engine import QUIET
from gpulab.engines.slurm_usage import SAMPLE
from gpulab.lab import flags
from gpulab.plan.container import Place, container_name, run_words, shipped, volumes
from gpulab.plan.plan import TOOLS, Command, Node, Plan
from gpulab.plan.resume_flags import flags_for
from gpulab.plan.script import READY, quote

# What only the job knows: @NAME@ in a plan's words is its variable.
JOBS_OWN = ("OWNER", "MASTER_ADDR", "MASTER_PORT", "IFNAME", "SLURM_NODEID")
CHECKPOINTS = str(TOOLS / "checkpoints.py")
PORT = "@MASTER_PORT@"  # where ranks meet: each job has a port of its own
FILES = "__FILES__"
LINE = 120
# `docker run` gets the job's own GPUs, by the numbers that Slurm gives them on the node.
CDI = '(--device "nvidia.com/gpu=$gpu")'
OLDER = '(--gpus "device=$gpu")'


def nodes_of_a_job(count: int) -> list[Node]:
    """The nodes of a spread step: which they are only the job knows."""
    return [Node(f"{rank} of the job", "@MASTER_ADDR@", "@IFNAME@", "@SLURM_NODEID@") for rank in range(count)]


class SlurmShell(DockerShell):
    """See Shell."""

    name = "slurm"
    by_hand = "sbatch"

    def __init__(
        self, plan: Plan, image: str, place: Callable[[Plan, Command], Place], shared: Path, *, cdi: bool, requeue: bool
    ) -> None:
        super().__init__(plan, image, place)
        self._shared, self._cdi, self._requeue = shared, cdi, requeue
        self.folders = {**{name: f"@{name}@" for name in JOBS_OWN}, **self.folders}

    def options(self) -> str:
        """See Shell."""
        plan = self.plan
        nodes = max(len(plan.ranks(step)) for step in plan.steps)
        gpus = plan.lab.needs.gpus if plan.profile == "gpu" else 0
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", plan.lab.slug)
        words = [f"--job-name={name}", f"--nodes={nodes}", "--ntasks-per-node=1", "--open-mode=append"]
        words += [f"--gpus-per-node={gpus}"] if gpus else []
        words += ["--requeue" if self._requeue else "--no-requeue"]
        return "".join(f"#SBATCH {word}\n" for word in words)

    def results(self) -> str:
        """See Shell; in the folder that all nodes share."""
        return quote(self._shared / "runs" / self.plan.lab.slug / "by-hand-") + '"$SLURM_JOB_ID"'

    def head(self) -> str:
        """See Shell."""
        shared = quote(self._shared)
        return f"""\
IMAGE={quote(self._image)}
NETWORK=gpulab-$SLURM_JOB_ID
OWNER=$(id -u):$(stat -c %g {shared}/runs)
umask 002
mkdir -p "$RUN"/logs "$RUN"/.judged
mkdir -p {shared}/models/twins || {{ echo "join the group $(stat -c %G {shared}/runs)" >&2; exit 2; }}
[ -d "$RUN"/.lab ] || sed '1,/^{FILES}$/d' "$0" | base64 -d | tar -xz -C "$RUN"
docker image inspect "$IMAGE" >/dev/null || {{ echo "$SLURMD_NODENAME cannot use $IMAGE, see above" >&2; exit 2; }}
say() {{ printf '{{"step": "%s", "what": "%s", "status": %d}}\\n' "$1" "$2" "${{3:-0}}" >> "$RUN"/journal; }}
finished() {{ grep -qs "\\"$1\\", \\"what\\": \\"done\\"" "$RUN"/journal; }}
fail() {{ say "$1" failed "$2"; exit "$2"; }}
stop() {{ docker rm --force "$@" >/dev/null; }}
clean() {{
  docker ps -aq --filter label=gpulab.job="$SLURM_JOB_ID" | xargs -r docker rm --force
  docker network ls -q --filter label=gpulab.job="$SLURM_JOB_ID" | xargs -r docker network rm
}}
# The job's own GPUs, as docker takes them.
gpus() {{
  GPUS=()
  for gpu in $(tr , ' ' <<<"${{SLURM_STEP_GPUS:-${{SLURM_JOB_GPUS:-}}}}"); do GPUS+={CDI if self._cdi else OLDER}; done
}}
# resume FOLDER WORLD FLAGS: after a node failure, or of a run that resumes another, from the last whole checkpoint.
resume() {{
  LAST=()
  [ -n "$(find "$1" -name 'checkpoint-*' -print -quit 2>/dev/null)" ] || return 0
  local whole
  whole=$(docker run --rm --label gpulab.job="$SLURM_JOB_ID" {self._aside(CHECKPOINTS)} "$1" "$2")
  shift 2
  [ -z "$whole" ] || LAST=("${{@//CHECKPOINT/"$whole"}}")
}}
judge() {{
  [ -f "$RUN"/.questions/"$1".json ] || return 0
  docker run --interactive --rm --label gpulab.job="$SLURM_JOB_ID" {self._aside("-m", "gpulab.checks")} \\
    < "$RUN"/.questions/"$1".json > "$RUN"/.judged/"$1".json || fail "$1" $?
  grep -q '"failures": \\[\\]' "$RUN"/.judged/"$1".json || {{ say "$1" unproven; exit 1; }}
}}
# everywhere FUNCTION LOG: on every node. While none says a word the first asks whether it reaches the others: a library
# may wait for hours for one that is cut off.
everywhere() {{
  export -f "$1"
  srun --label --kill-on-bad-exit=1 bash -euc "$1" </dev/null >> "$2" 2>&1 &
  local all=$! asking status=0
  end_when_apart $all "$2" >/dev/null 2>&1 &
  asking=$!
  wait $all || status=$?
  kill $asking 2>/dev/null || true
  return $status
}}
end_when_apart() {{
  local nodes node address said why
  mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  while sleep 10; do
    [ $(($(date +%s) - $(stat -c %Y "$2"))) -ge {QUIET:.0f} ] || continue
    for node in "${{nodes[@]:1}}"; do
      address=$(address "$node")
      said=$(timeout 6 bash -c "</dev/tcp/$address/$MASTER_PORT" 2>&1) || case "$?$said" in
        *refused*) ;;  # it came through
        *)
          why=${{said##*: }}
          echo "$FIRST does not reach $node at $address any more (${{why:-timed out}})" >> "$2"
          kill -KILL "$1"
          return
          ;;
      esac
    done
  done
}}
address() {{ scontrol --oneliner show node "$1" | sed 's/.* NodeAddr=\\([^ ]*\\).*/\\1/'; }}
# Of nodes that work together: where the first listens, on a port of the job's own, and the interface to it.
read -r FIRST < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=$(address "$FIRST")
MASTER_PORT=$((29400 + SLURM_JOB_ID % 200))
meet() {{
  IFNAME=$(sed -n 's/^NCCL_SOCKET_IFNAME=//p' /etc/nccl.conf 2>/dev/null || true)
  [ -n "$IFNAME" ] || IFNAME=$(ip -o route show default | sed -n '1s/.* dev \\([^ ]*\\).*/\\1/p')
}}
export RUN LAB IMAGE OWNER NETWORK MASTER_ADDR MASTER_PORT
export -f gpus resume meet
trap 'kill "${{SAMPLER:-}}" 2>/dev/null || true; clean >/dev/null' EXIT
clean >/dev/null  # what a job of this number left before it was queued again
docker network create --label gpulab.job="$SLURM_JOB_ID" "$NETWORK" >/dev/null
{SAMPLE}"""

    def step(self, command: Command) -> list[str]:
        """See Shell."""
        if command.rank:  # of a spread step the first node's line starts all
            return []
        step, run, log = command.step, function(command), f'"$RUN"/logs/{command.step}.log'
        call = f"{run} >> {log} 2>&1" if command.rank is None else f"everywhere {run} {log}"
        return self._server(command, log) if command.ready else [
            f"if ! finished {step}; then",
            f"say {step} begins",
            *self._function(command),
            f"{call} || fail {step} $?",
            f"judge {step}",
            f"say {step} done",
            "fi",
        ]  # fmt: skip

    def tail(self) -> str:
        """See Shell: the lab's files, unpacked by the job where they are not there yet."""
        packed = base64.b64encode(packed_files(shipped(self.plan))).decode()
        lines = [packed[i : i + LINE] for i in range(0, len(packed), LINE)]
        return "\n".join(["exit 0", FILES, *lines]) + "\n"

    def _server(self, command: Command, log: str) -> list[str]:
        assert command.ready  # noqa: S101 (only servers come here)
        step, name = command.step, container_name(self.plan, command)
        ready = ["docker", "exec", name, "python", str(READY), str(command.url), command.ready.chat]
        return [
            f"if ! finished {command.until}; then",
            f"say {step} begins",
            *self._function(command),
            f"{function(command)} >> {log} 2>&1 || fail {step} $?",
            f"docker logs --follow {self.quoted([name])} >> {log} 2>&1 &",
            f"{self.quoted(ready)} {command.ready.within:g} >> {log} 2>&1 || fail {step} $?",
            f"say {step} up",
            "fi",
        ]

    def stop(self, step: str) -> str:
        """See Shell."""
        return f'stop "$NETWORK"-{quote(step)} || true'

    def _function(self, command: Command) -> list[str]:
        """The step as a shell function: srun starts it on every node."""
        # Published nowhere: jobs that share a node must not meet on a port.
        inside = dataclasses.replace(command, port=None)
        place = self._place(self.plan, command)
        place = dataclasses.replace(place, user="@OWNER@", gpus=["@GPUS@"] if place.gpus else [])
        words = self.quoted(run_words(inside, self.plan, place)).replace("@GPUS@", '"${GPUS[@]}"')
        how = "--detach" if command.ready else "--rm"
        resumes = flags.with_flags([], flags_for(command, "CHECKPOINT"))
        last = ' "${LAST[@]}"' if resumes else ""
        before = [f"resume {self.quoted([str(command.out), str(command.world), *resumes])}"] if resumes else []
        before += ["gpus"] if place.gpus else []
        before += ["meet"] if command.rank is not None else []
        run = f'docker run {how} --label gpulab.job="$SLURM_JOB_ID" {words}{last}'
        run += " >/dev/null" if command.ready else ""  # the container's number
        return [f"{function(command)}() {{ {'; '.join([*before, run])}; }}"]

    def _aside(self, *program: str) -> str:
        words = ["--network", "none", "--user", "@OWNER@", "--cap-drop", "ALL", "--env", f"PYTHONPATH={ROOT}"]
        words += [*volumes(self._place(self.plan, self.plan.commands[0])), "--entrypoint", "python", self._image]
        return self.quoted([*words, *program])


def function(command: Command) -> str:
    """A step's shell function."""
    return f"run_{command.step.replace('-', '_')}"


def packed_files(files: Iterable[tuple[Path, str]]) -> bytes:
    """Files as a tar, the same bytes for the same contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file, name in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode = file.stat().st_size, 0o644
            with file.open("rb") as stream:
                tar.addfile(info, stream)
    return gzip.compress(out.getvalue(), mtime=0)
