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

from gpulab.engines import shell
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.node_group import QUIET
from gpulab.lab import flags
from gpulab.plan.container import Place, container_name, module_words, run_words, shipped
from gpulab.plan.plan import Command, Node, Plan
from gpulab.plan.resume_flags import flags_for
from gpulab.plan.script import READY, assigned, quote

# What only the job knows: @NAME@ in a plan's words is its variable.
JOBS_OWN = ("OWNER", "MASTER_ADDR", "MASTER_PORT", "IFNAME", "SLURM_NODEID")
PORT = "@MASTER_PORT@"  # where ranks meet: each job has a port of its own
FILES = "__FILES__"  # what follows it in the script is data (job.sh reads it)
LINE = 120


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
        values = assigned(
            IMAGE=self._image, SHARED=self._shared, QUIET=f"{QUIET:.0f}", GPUS_BY="cdi" if self._cdi else "number"
        )
        return values + self._helper() + shell.text("job.sh") + shell.text("sampler.sh")

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
        nccl = '"${NCCL[@]}" ' if command.rank is not None else ""
        run = f'docker run {how} --label gpulab.job="$SLURM_JOB_ID" {nccl}{words}{last}'
        run += " >/dev/null" if command.ready else ""  # the container's number
        return [f"{function(command)}() {{ {'; '.join([*before, run])}; }}"]

    def _helper(self) -> str:
        place = dataclasses.replace(self._place(self.plan, self.plan.commands[0]), user="@OWNER@")
        run = f'docker run --interactive --label gpulab.job="$SLURM_JOB_ID" {self.quoted(module_words(place))}'
        return f'helper() {{ {run} "$@"; }}\n'


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
