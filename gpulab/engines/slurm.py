"""The `slurm` engine: the whole plan as one job of the hosts' queue, which goes on without us (see JobSession)."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpulab.common import redact
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.engines import shell
from gpulab.engines.backend import Backend
from gpulab.engines.docker import NETWORK
from gpulab.engines.host_files import HostFiles, fetch_words, unpack
from gpulab.engines.remote import on_host, take_over
from gpulab.engines.slurm_follower import Follower
from gpulab.engines.slurm_shell import PORT, SlurmShell, nodes_of_a_job
from gpulab.engines.stack_image import StackImage
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.engines import engine_of
from gpulab.hosts.inventory import Host
from gpulab.hosts.login import ask_login
from gpulab.hosts.ssh import command as over_ssh
from gpulab.inside.resume_files import ResumeRequest, Taken
from gpulab.plan.container import Place, below, earlier_runs, handed_on
from gpulab.plan.plan import Command, Node, Plan
from gpulab.stacks.stack import Stack


class SlurmBackend(Backend):
    """See Backend. One compute node stands for all: its image, folders and user are every node's. `job`: the number of
    the one that is followed again."""

    name = "slurm"
    network = NETWORK

    def __init__(self, stack: Stack, compute_node: ComputeNode, login: Host, *, requeue: bool, job: str = "") -> None:
        super().__init__(stack, attaches=bool(job))
        self.login, self.requeue, self.job = login, requeue, job
        self._node = compute_node
        self._docker = engine_of(compute_node.host)
        self._image = StackImage(stack, self._docker, {self._docker: compute_node.told})
        self._files = HostFiles(self._docker, compute_node, self._image.tag)

    def prepare(self) -> None:
        """See Backend."""
        self._image.prepare()

    def lacks(self, plan: Plan) -> Command | None:
        """See Backend; `lay_ground` looks for them."""
        return None

    def described(self) -> dict[str, Any]:
        """See Backend; and where the run's files are."""
        return self._image.described() | {"files": f"{self._node.host.name}:{self._node.shared}/runs"}

    def shell(self, plan: Plan) -> SlurmShell:
        """See Backend."""
        cdi = bool(self._image.engine.get("CDISpecDirs", True))
        return SlurmShell(plan, self._image.tag, self._place, self._node.shared, cdi=cdi, requeue=self.requeue)

    def nodes(self, count: int) -> list[Node]:
        """See Backend."""
        return nodes_of_a_job(count)

    def rendezvous(self) -> str:
        """See Backend."""
        return PORT

    def room(self) -> tuple[str, float]:
        """See Backend."""
        return f"{self._node.host.name}:{self._node.shared}", self._node.free_gib

    def lay_ground(self, plan: Plan) -> None:
        """See Backend."""
        if not self.attaches:
            self._files.begin(plan, ["logs", "../../../models/twins"])

    def take_over(self, plan: Plan, request: ResumeRequest) -> Taken:
        """See Backend; on the host."""
        run = self.folder(plan)
        read = {**below(plan, run), **earlier_runs(plan, run.parent)}
        return take_over(self._files, on_host(plan, plan.commands[0], self._node, run, self._image, read), request)

    def reach(self, command: Command) -> str:
        """See Backend."""
        return f"port {command.port} inside the job"

    @contextmanager
    def gpus(self) -> Iterator[Callable[[], tuple[float, float]]]:
        """See Backend; the job's nodes write down what they use."""
        yield lambda: (0.0, 0.0)

    def sweep(self, run: Path) -> None:
        """See Backend; what there is belongs to the job."""

    def discard(self, plan: Plan) -> None:
        """See Backend."""
        self._files.discard(plan)

    def folder(self, plan: Plan) -> Path:
        """The run's folder, on the nodes and on the login host."""
        return self._files.folder(plan.run)

    def ship(self, plan: Plan, files: Sequence[tuple[Path, str]]) -> None:
        """Put files into the run's folder there."""
        self._files.ship(plan, files)

    def submit(self, plan: Plan) -> str:
        """Submit the plan.sh that lies in the run's folder; the job's number. Raises UsageError where it is refused."""
        script = (plan.run / "plan.sh").read_text(encoding="utf-8")
        names = {*handed_on(plan.commands[0].env), *(k for k in redact.variables() if f'"${k}"' in script)}
        told = "".join(f"{k}={shlex.quote(os.environ[k])}\n" for k in sorted(names))
        submit = ["bash", "-c", shell.text("submit.sh"), "_", str(self.folder(plan))]
        said = ask_login(self.login, submit, stdin=told, deadline=60)
        return said.split(";")[0]

    def follow(self, plan: Plan, job: str) -> Follower:
        """Follow a job into the run's folder here."""
        return Follower(self.login, self.folder(plan), job, plan.run)

    def cancel(self, job: str) -> None:
        """Cancel a job, if the login host answers."""
        with contextlib.suppress(UsageError):
            ask_login(self.login, ["scancel", job])

    def fetch(self, plan: Plan, step: str) -> None:
        """Bring a step's files that are not too big; from the login host: the node may be gone."""
        script, arguments = fetch_words(self.folder(plan), step)
        argv = over_ssh(self.login, "bash", "-c", script, "_", *arguments)
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        unpack(done.stdout, plan)

    def _place(self, plan: Plan, command: Command) -> Place:
        """The script knows the run's folder by one name, on the nodes and in containers."""
        return on_host(plan, command, self._node, plan.run, self._image, below(plan, plan.run))
