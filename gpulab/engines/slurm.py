"""The `slurm` engine: the whole plan as one job of the hosts' queue. The job goes on without us; we follow it.

The job keeps a journal in the run's folder, which all nodes and the login host share; so whoever comes back later
(`inv attach`) reads on from there. Steps are judged in the job, where their files are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpulab.checks.verdict import Judgement
from gpulab.common import redact
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.engine import POLL, Ended
from gpulab.engines.interrupts import held_back
from gpulab.engines.progress import Watch
from gpulab.engines.remote import FETCHED_MIB, RemoteDockerEngine
from gpulab.engines.slurm_follower import Follower
from gpulab.engines.slurm_shell import PORT, SlurmShell, nodes_of_a_job
from gpulab.engines.slurm_usage import samples
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.inventory import Host
from gpulab.hosts.login import ask_login
from gpulab.hosts.ssh import command as over_ssh
from gpulab.inside.resume_files import ResumeRequest, Taken
from gpulab.plan.container import Place, below, handed_on, shipped
from gpulab.plan.plan import TWINS, Command, Node, Plan
from gpulab.plan.script import as_script
from gpulab.stacks.stack import Stack

# What is handed on comes by standard input, so it is in no argument list. A shared folder may need a moment. Of a job
# that Slurm refuses nothing is left.
SUBMIT = """
set -a; eval "$(cat)"; set +a
for _ in $(seq 30); do [ -f "$0/plan.sh" ] && break; sleep 1; done
cd "$0" && sbatch --parsable --output=logs/job.log plan.sh "$0" && exit
cd / && rm -rf "$0"
exit 1
"""
FETCH = f'cd "$0" && find "$1" -type f -size -{FETCHED_MIB}M -print0 | tar -cf - --null -T -'
# A step's last word in the journal -> how it ended; of an unproven one the judgement says more.
ENDED = {"done": Ended(0), "unproven": Ended(0), "up": Ended(None)}
FIRST_BAD = re.compile(r"^srun: error: (?P<node>\S+): task (?P<rank>\d+): Exited with exit code (?P<exit>\d+)", re.M)
# What the job's script says of nodes that were cut off from each other, see slurm_shell.
APART = re.compile(r"^\S+ does not reach \S+ at \S+ any more \(.*\)$", re.M)
FAILED = ("failed", "unproven")
LAST_WORDS = 10  # seconds that a job's last files may need to be seen


class SlurmEngine(RemoteDockerEngine):
    """See Engine. The compute_nodes are nodes that stand for all: their image, folders and user are every node's."""

    name = "slurm"

    def __init__(
        self, stack: Stack, compute_nodes: Sequence[ComputeNode], login: Host, *, requeue: bool, job: str = ""
    ) -> None:
        super().__init__(stack, compute_nodes)
        self.login, self.requeue, self.job = login, requeue, job
        self._follower: Follower | None = None
        self._told = ""

    def nodes(self, count: int) -> list[Node]:
        """See Engine."""
        return nodes_of_a_job(count)

    def rendezvous(self) -> str:
        """See Engine."""
        return PORT

    def place(self, plan: Plan, command: Command) -> Place:
        """See DockerEngine; the script knows the run's folder by one name, on the nodes and in containers."""
        shared = self.compute_node.shared
        return dataclasses.replace(
            super().place(plan, command),
            read=below(plan, plan.run),
            write={plan.run: plan.run, TWINS: shared / "models" / "twins", shared: shared},
        )

    def shell(self, plan: Plan) -> DockerShell:
        """See Engine."""
        cdi = bool(self._info.get("CDISpecDirs", True))
        return SlurmShell(plan, self.image.tag, self.place, self.compute_node.shared, cdi=cdi, requeue=self.requeue)

    def lay_ground(self) -> None:
        """See Engine."""
        if not self.job:
            self._ship(shipped(self.plan), ["logs", "../../../models/twins"])

    def take_over(self, resume_request: ResumeRequest) -> Taken:
        """See Engine; the job passes over what its journal says is done."""
        taken = super().take_over(resume_request)
        lines = [json.dumps({"step": step, "what": "done", "status": 0}) + "\n" for step in taken.steps]
        (self.plan.run / "journal").write_text("".join(lines), encoding="utf-8")
        return taken

    def begin(
        self,
        plan: Plan,
        replan: Callable[[dict[str, int]], Plan],
        watch: Watch,
        resume_request: ResumeRequest | None = None,
    ) -> None:
        """See Engine; submits the job, unless there is one already, and follows it."""
        super().begin(plan, replan, watch, resume_request)
        folder = self._run_folder(plan)
        if not self.job:
            self._ship(self._written(plan))
            script = (plan.run / "plan.sh").read_text(encoding="utf-8")
            names = {*handed_on(plan.commands[0].env), *(k for k in redact.variables() if f'"${k}"' in script)}
            told = "".join(f"{k}={shlex.quote(os.environ[k])}\n" for k in sorted(names))
            with held_back():  # else nobody knows the number of a job that is queued
                said = ask_login(self.login, ["bash", "-c", SUBMIT, str(folder)], stdin=told, deadline=60)
                self.job = said.split(";")[0]
        self._watch.say(f"job {self.job} of {self.login.name}; it goes on without this terminal (./inv attach)")
        self._follower = Follower(self.login, folder, self.job, plan.run)

    def remembered(self) -> dict[str, Any]:
        """See Engine."""
        return {"job": self.job, "login": self.login.name, "requeue": self.requeue}

    def carry_out(self, step: str) -> Ended:
        """See Engine: wait until the job's journal tells the step's end."""
        command = self.plan.command(step)
        command.out.mkdir(parents=True, exist_ok=True)
        over_since: float | None = None
        while True:
            ended = self._ended(step)
            if ended is not None:
                if not command.ready:
                    self._fetch(step)
                for sample in samples(self.plan.run, step):
                    self._sampler.add(sample)
                return ended
            self._say_standing()
            self._watch.look(command)
            if self._followed.over:
                over_since = over_since or time.monotonic()
                if time.monotonic() - over_since > LAST_WORDS:
                    return Ended(None, self._why_over(step), self.log("job"))
            time.sleep(POLL)

    def let_go(self, step: str, keep: str | None = None) -> list[str]:
        """See Engine; the job does."""
        return []

    def judge(self, command: Command) -> Judgement:
        """See Engine; the job did it."""
        file = self.plan.run / ".judged" / f"{command.step}.json"
        if command.ready or not file.is_file():
            return Judgement([], [], [])
        return Judgement(**json.loads(file.read_text(encoding="utf-8")))

    def gpus(self) -> Callable[[], tuple[float, float]]:
        """See Engine; the job's nodes write down what they use."""
        return lambda: (0.0, 0.0)

    def reach(self, command: Command) -> str:
        """See Engine."""
        return f"port {command.port} inside the job"

    def sweep(self) -> None:
        """See Engine: whatever ends the run here ends the job."""
        if not self.job:
            return  # nothing was submitted
        if self._follower:
            self._follower.close()
        if not (self._follower and (self._follower.over or self._ends_by_itself())):
            with contextlib.suppress(UsageError):  # the login host does not answer
                ask_login(self.login, ["scancel", self.job])

    @property
    def _followed(self) -> Follower:
        assert self._follower  # noqa: S101 (since the job was submitted)
        return self._follower

    def _written(self, plan: Plan) -> list[tuple[Path, str]]:
        """The script, and each step's question to the judge, in the names that the job knows."""
        script = plan.run / "plan.sh"
        script.touch(mode=0o600)
        script.write_text(as_script(self.shell(plan)), encoding="utf-8")
        files = [(script, "plan.sh")]
        if (journal := plan.run / "journal").is_file():
            files.append((journal, "journal"))
        for command in (self.command(step) for step in plan.steps):
            if command.ready:
                continue
            file = plan.run / ".questions" / f"{command.step}.json"
            file.parent.mkdir(exist_ok=True)
            text = self.question(command).to_json().replace(str(plan.run), str(self._run_folder(plan)))
            file.write_text(text, encoding="utf-8")
            files.append((file, f".questions/{file.name}"))
        return files

    def _ended(self, step: str) -> Ended | None:
        """How the journal says that the step ended; of what was cut off and begun anew only the last counts."""
        told = [line for line in self._followed.journal() if line["step"] == step]
        last = told[-1]["what"] if told else ""
        if last == "failed":
            return self._failed_node(step) or Ended(int(told[-1]["status"]))
        return ENDED.get(last)

    def _failed_node(self, step: str) -> Ended | None:
        """Of a spread step the node that it began with, as srun says: it stops the others, and its own status is
        theirs."""
        said = self.said(step)
        if apart := APART.search(said):
            return Ended(None, f"{apart[0]}; the nodes of {step} were stopped")
        if not (found := FIRST_BAD.search(said)):
            return None
        text = f"node {found['rank']} ({found['node']}) of {step} ended with exit {found['exit']}"
        return Ended(int(found["exit"]), f"{text}; the others were stopped")

    def _ends_by_itself(self) -> bool:
        """Whether the job has nothing left to do: a step failed, or the last one is done."""
        told = self._followed.journal()
        if not told:
            return False
        return told[-1]["what"] in FAILED or (told[-1]["step"] == self.plan.steps[-1] and told[-1]["what"] in ENDED)

    def _say_standing(self) -> None:
        standing = self._followed.standing
        state, reason = standing.get("state", ""), standing.get("reason", "None")
        text = f"job {self.job}: {state.lower()}"
        text += f" on {standing['nodes']}" if state == "RUNNING" else ""
        text += f", {reason}" if reason not in ("None", "") else ""
        text += f", started anew {standing['restarts']} times" if standing.get("restarts", "0") != "0" else ""
        if not (self._followed.over or self._followed.hears()):
            text = f"{self.login.name} does not answer; the job goes on"
        if state and text != self._told:
            self._told = text
            self._watch.say(text)

    def _why_over(self, step: str) -> str:
        standing = self._followed.standing
        state = standing.get("state", "").lower().replace("_", " ")
        reason = standing.get("reason", "None")
        return f"job {self.job} ended before {step} did: {state}" + ("" if reason == "None" else f", {reason}")

    def _fetch(self, step: str) -> None:
        """See RemoteDockerEngine; from the login host: the node may be gone."""
        argv = over_ssh(self.login, "bash", "-c", FETCH, str(self._run_folder(self.plan)), step)
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if done.stdout:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
                tar.extractall(self.plan.run, filter="data")
