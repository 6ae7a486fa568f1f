"""The `docker` engine on a host of the inventory. Files travel through Docker's own connection, as a tar.

A container sees every path as on this machine; on the host they lie in the shared folder. Steps are judged there, and
only files up to a size come back: weights stay where they were trained.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from gpulab.checks.verdict import Judgement, Question
from gpulab.common.docker import Docker, remove_run
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.engines.docker import ContainerJob, DockerEngine
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.engine import Ended
from gpulab.engines.remote_shell import RemoteShell
from gpulab.hosts import preflight
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.engines import engine_of
from gpulab.hosts.reservation import claim
from gpulab.hosts.ssh import ask
from gpulab.hosts.ssh import command as over_ssh
from gpulab.images.inspect import identity
from gpulab.inside.resume_files import ResumeRequest, Taken, bring
from gpulab.plan.container import Place, below, container_name, shipped, volumes
from gpulab.plan.plan import TWINS, Command, Node, Plan
from gpulab.stacks.stack import Stack

FETCHED_MIB = 64  # files up to this size come back
PROGRESS = 3.0  # seconds between two looks at a step's logging.jsonl
BIND = "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))"
SMI = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class RemoteDockerEngine(DockerEngine):
    """See DockerEngine. Steps run on the first host, spread ones on all. They go on when inv is gone; one that
    attaches takes up what it finds."""

    def __init__(self, stack: Stack, compute_nodes: Sequence[ComputeNode], *, attaches: bool = False) -> None:
        super().__init__(stack, engine_of(compute_nodes[0].host))
        self.attaches = attaches
        self.compute_node = compute_nodes[0]
        self.compute_nodes = {compute_node.host.name: compute_node for compute_node in compute_nodes}
        self._dockers = {compute_node.host.name: engine_of(compute_node.host) for compute_node in compute_nodes}
        self._looked = 0.0
        self._smi: SmiLoop | None = None

    def prepare(self) -> None:
        """See Engine: the same image on all hosts."""
        super().prepare()
        with ThreadPoolExecutor(len(self._dockers)) as pool:
            images = dict(zip(self._dockers, pool.map(self.inspect, self._dockers.values()), strict=True))
        for name, image in images.items():
            if identity(image) != identity(self._image):
                raise UsageError(
                    f"{name} and {self.compute_node.host.name} have different images under {self.image.tag}",
                    "./inv images --hosts gpus.ini shows them; ./inv pull or ./inv load makes them the same",
                )

    def described(self) -> dict[str, Any]:
        """See Engine; and where the run's files are."""
        return super().described() | {"files": f"{self.compute_node.host.name}:{self.compute_node.shared}/runs"}

    def nodes(self, count: int) -> list[Node]:
        """See Engine."""
        return [
            Node(compute_node.host.name, compute_node.address, compute_node.interface)
            for compute_node in list(self.compute_nodes.values())[:count]
        ]

    def docker_of(self, command: Command) -> Docker:
        """See DockerEngine."""
        return self._dockers.get(command.node, self.docker)

    def place(self, plan: Plan, command: Command) -> Place:
        """See DockerEngine."""
        compute_node = self.compute_nodes.get(command.node, self.compute_node)
        run, shared = self._run_folder(plan), compute_node.shared
        rdma = ["--device", "/dev/infiniband", "--cap-add", "IPC_LOCK"] if compute_node.rdma else []
        return Place(
            image=self.image.tag,
            user=compute_node.user,
            read={**below(plan, run), **self.earlier_runs(plan, run.parent)},
            write={plan.run: run, TWINS: shared / "models" / "twins", shared: shared},
            environment=compute_node.environment,
            gpus=self.gpu_words(plan),
            shm=f"{compute_node.shm_mib}m",
            fabric=rdma if command.rank is not None else None,
        )

    def shell(self, plan: Plan) -> DockerShell:
        """See Engine."""
        return RemoteShell(plan, self.image.tag, self.place, self._dockers, self._run_folder(plan))

    def lay_ground(self) -> None:
        """See Engine; the hosts are this run's, the lab's folder and tools are shipped, the nodes share and meet."""
        if self.attaches:
            return
        plan = self.plan
        claim(self._dockers, list(self.compute_nodes.values()), plan, self.image.tag)
        folders = ["logs", "../../../models/twins", *dict.fromkeys(c.out.name for c in plan.commands)]
        compute_nodes, spreads = list(self.compute_nodes.values()), any(c.rank is not None for c in plan.commands)
        with ThreadPoolExecutor() as pool:
            meet = (
                pool.submit(preflight.must_meet, compute_nodes, int(plan.rendezvous))
                if spreads and len(compute_nodes) > 1
                else None
            )
            self._ship(shipped(plan), folders)
            if len(compute_nodes) > 1:
                preflight.must_share(compute_nodes, self._run_folder(plan) / ".gpulab/inside/ready.py")
            if meet:
                meet.result()

    def take_over(self, resume_request: ResumeRequest) -> Taken:
        """See Engine; on the host, and of what came back from there here, too."""
        old, new = (
            self.compute_node.shared / "runs" / f.parent.name / f.name for f in (resume_request.old, resume_request.new)
        )
        there = ResumeRequest(old, new, resume_request.parts)
        taken = Taken(**json.loads(self._ask(self.plan.commands[0], "gpulab.inside.resume_files", there)))
        for step in taken.steps:
            bring(resume_request.old / step, resume_request.new / step)
        return taken

    def start(self, command: Command) -> ContainerJob:
        """See DockerEngine; a container that is there already is followed, but a server that has ended."""
        if self._is_there(command):
            return self.follow(command)
        return super().start(command)

    def lasted(self, step: str) -> float | None:
        """See Engine; as the container says."""
        if not self.attaches:
            return None
        command = self.command(step)
        words = ("inspect", "--format", "{{json .State}}", container_name(self.plan, command))
        said = self.docker_of(command).try_run(*words, timeout=15)
        if said.returncode or (state := json.loads(said.stdout))["Running"]:
            return None
        began, ended = (datetime.fromisoformat(state[name][:19]) for name in ("StartedAt", "FinishedAt"))
        return (ended - began).total_seconds()

    def carry_out(self, step: str) -> Ended:
        """See Engine; brings the step's files back."""
        ended = super().carry_out(step)
        if not self.plan.command(step).ready:
            self._fetch(step)
        return ended

    def judge(self, command: Command) -> Judgement:
        """See Engine; on the host, in the stack's image."""
        log = self.log(command.step)
        self._ship([(log, f"logs/{log.name}")])
        return Judgement(**json.loads(self._ask(command, "gpulab.checks", self.question(command))))

    def is_free(self, port: int) -> bool:
        """See Engine; asked on the host."""
        host = self.compute_node.host
        return not ask([host], lambda _: ["python3", "-c", BIND, str(port)])[host.name].problem

    def gpus(self) -> Callable[[], tuple[float, float]]:
        """See Engine; nvidia-smi on the host, followed."""
        if not self.compute_node.machine.gpus:
            return lambda: (0.0, 0.0)
        self._smi = SmiLoop(over_ssh(self.compute_node.host, *SMI, "--loop=2"), len(self.compute_node.machine.gpus))
        return self._smi

    def room(self) -> tuple[str, float]:
        """See Engine."""
        return f"{self.compute_node.host.name}:{self.compute_node.shared}", self.compute_node.free_gib

    def sweep(self) -> None:
        """See Engine; on every host, as far as it answers."""
        with ThreadPoolExecutor(len(self._dockers)) as pool:
            list(pool.map(lambda docker: remove_run(docker, self.plan.run), self._dockers.values()))
        if self._smi:
            self._smi.close()

    def reach(self, command: Command) -> str:
        """See Engine; the port is the host's loopback's."""
        host = self.compute_node.host
        login = f"{host.user}@{host.address}" if host.user else host.address
        tunnel = f"ssh -p {host.port} -L {command.port}:127.0.0.1:{command.port} {login}"
        return f"{command.url} on {host.name}; from here: {tunnel}"

    def _run_folder(self, plan: Plan) -> Path:
        return self.compute_node.shared / "runs" / plan.run.parent.name / plan.run.name

    def _ask(self, command: Command, module: str, question: Question | ResumeRequest) -> str:
        """What a module of the lab's own answers on the host: beside a command, as the same user, without network."""
        place = RemoteDockerEngine.place(self, self.plan, command)
        words = ["--rm", "--network", "none", "--user", place.user, "--cap-drop", "ALL", *volumes(place)]
        words += ["--env", f"PYTHONPATH={ROOT}", "--entrypoint", "python", self.image.tag]
        done = subprocess.run(
            self.docker.argv("run", "--interactive", *words, "-m", module), env=self.docker.env(),
            input=question.to_json(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise self.docker.complaint(done.stderr)
        return done.stdout

    def apart(self, commands: Sequence[Command]) -> str | None:
        """See Engine; libraries may wait for hours for a node that is cut off."""
        compute_nodes = [self.compute_nodes[command.node] for command in commands]
        return preflight.cut_off(compute_nodes, int(self.plan.rendezvous))

    def _is_there(self, command: Command) -> bool:
        """Whether a command's container is there to be taken up; where its host does not answer it is waited for."""
        if not self.attaches:
            return False
        words = ("inspect", "--format", "{{.State.Running}}", container_name(self.plan, command))
        said = self.docker_of(command).try_run(*words)
        if command.ready and said.stdout.strip() == "false":
            self.remove(command)
            return False
        return "No such" not in said.stderr

    def _on_a_free_port(self, step: str) -> Command:
        command = self.command(step)
        return command if self._is_there(command) else super()._on_a_free_port(step)

    def _look(self, command: Command, job: Any) -> None:
        super()._look(command, job)
        if "logging.jsonl" in command.makes and time.monotonic() - self._looked > PROGRESS:
            self._looked = time.monotonic()
            name = container_name(self.plan, command)
            said = self.docker.try_run("exec", name, "cat", str(command.out / "logging.jsonl"), timeout=10)
            if said.returncode == 0:
                (command.out / "logging.jsonl").write_text(said.stdout, encoding="utf-8")

    def _ship(self, files: Sequence[tuple[Path, str]], folders: Sequence[str] = ()) -> None:
        """Put files into the run's folder on the host, by names relative to it; the folders are made, too."""
        shared, run = self.compute_node.shared, self._run_folder(self.plan)
        script = 'umask 002; mkdir -p "$0" && cd "$0" && tar -xf - && mkdir -p "$@"'
        made = [str(run), *(folders or ["."])]
        with self._tar("--volume", f"{shared}:{shared}", script=script, arguments=made) as (into, _):
            with tarfile.open(fileobj=into, mode="w|") as tar:
                for file, name in files:
                    tar.add(file, name)
            into.close()

    def _fetch(self, step: str) -> None:
        """Bring the files of a step's folder that are not too big."""
        run = self._run_folder(self.plan)
        script = f'cd "$0" && find "$1" -type f -size -{FETCHED_MIB}M -print0 | tar -cf - --null -T -'
        with self._tar("--volume", f"{run}:{run}", script=script, arguments=[str(run), step]) as (into, out):
            into.close()
            data = io.BytesIO(out.read())
        if data.getbuffer().nbytes:
            with tarfile.open(fileobj=data) as tar:
                tar.extractall(self.plan.run, filter="data")

    @contextmanager
    def _tar(self, *volume: str, script: str, arguments: Sequence[str]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """A shell script in a container of the stack's image, its input and output. Raises UsageError when it fails."""
        words = ["run", "--interactive", "--rm", "--network", "none", "--user", self.compute_node.user, *volume]
        argv = self.docker.argv(*words, "--entrypoint", "sh", self.image.tag, "-c", script, *arguments)
        process = subprocess.Popen(
            argv, env=self.docker.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 (pipes, see above)
        try:
            yield process.stdin, process.stdout
        except BrokenPipeError:
            pass  # it ended early; its complaint says why
        finally:
            complaint = process.stderr.read().decode(errors="replace")
            if process.wait():
                raise self.docker.complaint(complaint)


class SmiLoop:
    """A looping nvidia-smi on a host: the latest mean utilization in percent and MiB in use."""

    def __init__(self, argv: Sequence[str], count: int) -> None:
        self._process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._latest = [(0.0, 0.0)] * count
        threading.Thread(target=self._read, daemon=True).start()

    def __call__(self) -> tuple[float, float]:
        """The latest: percent, MiB."""
        return sum(p for p, _ in self._latest) / len(self._latest), sum(m for _, m in self._latest)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101 (a pipe, see above)
        for number, line in enumerate(self._process.stdout):  # the GPUs in turn
            percent, mib = (float(part) if part.strip().isdigit() else 0.0 for part in line.split(","))
            self._latest[number % len(self._latest)] = (percent, mib)
