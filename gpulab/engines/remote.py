"""The `docker` engine on hosts of the inventory, over ssh.

A container sees every path as on this machine; on the host they lie in the shared folder. Steps are judged there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from gpulab.checks.verdict import Judgement, Question
from gpulab.common.docker import Docker, remove_run
from gpulab.engines.backend import StepBackend, log_of
from gpulab.engines.container_job import ContainerJob
from gpulab.engines.containers import Containers
from gpulab.engines.docker import NETWORK
from gpulab.engines.host_files import HostFiles
from gpulab.engines.remote_shell import RemoteShell
from gpulab.engines.smi_loop import SMI, SmiLoop
from gpulab.engines.stack_image import StackImage
from gpulab.hosts import preflight
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.engines import engine_of
from gpulab.hosts.reservation import claim
from gpulab.hosts.ssh import ask
from gpulab.hosts.ssh import command as over_ssh
from gpulab.inside.resume_files import ResumeRequest, Taken, bring
from gpulab.plan.container import Place, below, container_name, earlier_runs
from gpulab.plan.lab_twins import TWINS
from gpulab.plan.plan import Command, Node, Plan
from gpulab.stacks.stack import Stack

PROGRESS = 3.0  # seconds between two looks at a step's logging.jsonl
BIND = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))"


class RemoteBackend(StepBackend):
    """See Backend. Steps run on the first host, spread ones on all. They go on when inv is gone; one that attaches
    takes up what it finds."""

    name = "docker"
    network = NETWORK

    def __init__(self, stack: Stack, compute_nodes: Sequence[ComputeNode], *, attaches: bool = False) -> None:
        super().__init__(stack, attaches=attaches)
        self._first = compute_nodes[0]
        self._nodes = {node.host.name: node for node in compute_nodes}
        self._dockers = {node.host.name: engine_of(node.host) for node in compute_nodes}
        self._docker = self._dockers[self._first.host.name]
        told = {self._dockers[name]: node.told for name, node in self._nodes.items()}
        self._image = StackImage(stack, self._docker, told)
        self.containers = Containers(self._docker_of, self._place)
        self.files = HostFiles(self._docker, self._first, self._image.tag)
        self._looked = 0.0

    def prepare(self) -> None:
        """See Backend: the same image on all hosts."""
        self._image.prepare()
        self._image.must_be_the_same_on(list(self._dockers.values()))

    def lacks(self, plan: Plan) -> Command | None:
        """See Backend; `lay_ground` looks for them."""
        return None

    def described(self) -> dict[str, Any]:
        """See Backend; and where the run's files are."""
        return self._image.described() | {"files": f"{self._first.host.name}:{self._first.shared}/runs"}

    def shell(self, plan: Plan) -> RemoteShell:
        """See Backend."""
        return RemoteShell(plan, self._image.tag, self._place, self._dockers, self.files.folder(plan.run))

    def nodes(self, count: int) -> list[Node]:
        """See Backend."""
        return [node.node for node in list(self._nodes.values())[:count]]

    def room(self) -> tuple[str, float]:
        """See Backend."""
        return f"{self._first.host.name}:{self._first.shared}", self._first.free_gib

    def lay_ground(self, plan: Plan) -> None:
        """See Backend; the hosts are this run's, the lab's folder and tools are shipped, the nodes share and meet."""
        if self.attaches:
            return
        nodes = list(self._nodes.values())
        folders = ["logs", "../../../models/twins", *dict.fromkeys(c.out.name for c in plan.commands)]
        claim(self._dockers, nodes, plan, self._image.tag, then=lambda: self.files.begin(plan, folders))
        if len(nodes) > 1:
            spreads = any(c.rank is not None for c in plan.commands)
            file = self.files.folder(plan.run) / ".gpulab/inside/ready.py"
            preflight.must_be_one(nodes, file, int(plan.rendezvous) if spreads else None)

    def take_over(self, plan: Plan, request: ResumeRequest) -> Taken:
        """See Backend; on the host, and of what came back from there here, too."""
        return take_over(self.files, self._place(plan, plan.commands[0]), request)

    def start(self, plan: Plan, command: Command) -> ContainerJob:
        """See Backend; a container that is there already is followed, but a server that has ended."""
        if self.is_there(plan, command):
            return self.containers.follow(plan, command)
        return self.containers.start(plan, command)

    def is_there(self, plan: Plan, command: Command) -> bool:
        """See Backend; where its host does not answer it is waited for."""
        if not self.attaches:
            return False
        words = ("inspect", "--format", "{{.State.Running}}", container_name(plan, command))
        said = self._docker_of(command).try_run(*words)
        if command.ready and said.stdout.strip() == "false":
            self.remove(plan, [command])
            return False
        return "No such" not in said.stderr

    def is_free(self, port: int) -> bool:
        """See Backend; asked on the host."""
        host = self._first.host
        return not ask([host], lambda _: ["python3", "-c", BIND, str(port)])[host.name].problem

    def hold(self, port: int) -> AbstractContextManager[object] | None:
        """See Backend; a port that another run is about to take looks free there."""
        return nullcontext() if self.is_free(port) else None

    def answers(self, plan: Plan, command: Command, timeout: float) -> bool:
        """See Backend."""
        return self.containers.answers(plan, command, timeout)

    def reach(self, command: Command) -> str:
        """See Backend; the port is the host's loopback's."""
        host = self._first.host
        login = f"{host.user}@{host.address}" if host.user else host.address
        tunnel = f"ssh -p {host.port} -L {command.port}:127.0.0.1:{command.port} {login}"
        return f"{command.url} on {host.name}; from here: {tunnel}"

    @contextmanager
    def gpus(self) -> Iterator[Callable[[], tuple[float, float]]]:
        """See Backend; nvidia-smi on the host, followed."""
        if not self._first.machine.gpus:
            yield lambda: (0.0, 0.0)
            return
        loop = SmiLoop(over_ssh(self._first.host, *SMI), len(self._first.machine.gpus))
        try:
            yield loop
        finally:
            loop.close()

    def fetch_progress(self, plan: Plan, command: Command) -> None:
        """See Backend; now and then."""
        if "logging.jsonl" not in command.makes or time.monotonic() - self._looked < PROGRESS:
            return
        self._looked = time.monotonic()
        log = command.out / "logging.jsonl"
        said = self._docker.try_run("exec", container_name(plan, command), "cat", str(log), timeout=10)
        if said.returncode == 0:
            log.write_text(said.stdout, encoding="utf-8")

    def fetch(self, plan: Plan, step: str) -> None:
        """See Backend."""
        self.files.fetch(plan, step)

    def judge(self, plan: Plan, question: Question) -> Judgement:
        """See Backend; on the host, in the stack's image."""
        log = log_of(plan, question.step)
        self.files.ship(plan, [(log, f"logs/{log.name}")])
        place = self._place(plan, plan.command(question.step))
        return Judgement(**json.loads(self.files.ask(place, "gpulab.checks", question)))

    def apart(self, plan: Plan, commands: Sequence[Command]) -> str | None:
        """See Backend; libraries may wait for hours for a node that is cut off."""
        return preflight.cut_off([self._nodes[command.node] for command in commands], int(plan.rendezvous))

    def lasted(self, plan: Plan, command: Command) -> float | None:
        """See Backend; as the container says."""
        if not self.attaches:
            return None
        words = ("inspect", "--format", "{{json .State}}", container_name(plan, command))
        said = self._docker_of(command).try_run(*words, timeout=15)
        if said.returncode or (state := json.loads(said.stdout))["Running"]:
            return None
        began, ended = (datetime.fromisoformat(state[name][:19]) for name in ("StartedAt", "FinishedAt"))
        return (ended - began).total_seconds()

    def remove(self, plan: Plan, commands: Sequence[Command]) -> None:
        """See Backend."""
        self.containers.remove(plan, commands)

    def foreground(self, plan: Plan, command: Command) -> int:
        """See Backend."""
        return self.containers.foreground(plan, command)

    def discard(self, plan: Plan) -> None:
        """See Backend."""
        self.files.discard(plan)

    def sweep(self, run: Path) -> None:
        """See Backend; on every host, as far as it answers."""
        with ThreadPoolExecutor(len(self._dockers)) as pool:
            list(pool.map(lambda docker: remove_run(docker, run), self._dockers.values()))

    def _docker_of(self, command: Command) -> Docker:
        return self._dockers.get(command.node, self._docker)

    def _place(self, plan: Plan, command: Command) -> Place:
        node, run = self._nodes.get(command.node, self._first), self.files.folder(plan.run)
        return on_host(plan, command, node, run, self._image, {**below(plan, run), **earlier_runs(plan, run.parent)})


def on_host(
    plan: Plan, command: Command, node: ComputeNode, run: Path, image: StackImage, read: Mapping[Path, Path]
) -> Place:
    """Where a command's container runs on a host, on which `run` is the run's folder."""
    rdma = ["--device", "/dev/infiniband", "--cap-add", "IPC_LOCK"] if node.rdma else []
    return Place(
        image=image.tag,
        user=node.user,
        read=read,
        write={plan.run: run, TWINS: node.shared / "models" / "twins", node.shared: node.shared},
        environment=node.environment,
        gpus=image.gpu_words(plan),
        shm=f"{node.shm_mib}m",
        fabric=rdma if command.rank is not None else None,
    )


def take_over(files: HostFiles, place: Place, request: ResumeRequest) -> Taken:
    """Carry out a resume request on a host, and bring what it took of this machine's files."""
    there = ResumeRequest(files.folder(request.old), files.folder(request.new), request.parts)
    taken = Taken(**json.loads(files.ask(place, "gpulab.inside.resume_files", there)))
    for step in taken.steps:
        bring(request.old / step, request.new / step)
    return taken
