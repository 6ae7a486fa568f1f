"""A run that is one Slurm job. The job goes on without us; we follow it.

The job keeps a journal in the run's folder, which all nodes and the login host share; so whoever comes back later
(`inv attach`) reads on from there. Steps are judged in the job, where their files are.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from gpulab.checks.verdict import Judgement
from gpulab.engines.ended import Ended
from gpulab.engines.interrupts import held_back
from gpulab.engines.node_group import POLL, said
from gpulab.engines.progress import Watch
from gpulab.engines.session import Session
from gpulab.engines.slurm import SlurmBackend
from gpulab.engines.slurm_usage import samples
from gpulab.inside.resume_files import ResumeRequest, Taken
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import as_script

# A step's last word in the journal -> how it ended; of an unproven one the judgement says more.
ENDED = {"done": Ended(0), "unproven": Ended(0), "up": Ended(None)}
FIRST_BAD = re.compile(r"^srun: error: (?P<node>\S+): task (?P<rank>\d+): Exited with exit code (?P<exit>\d+)", re.M)
# What the job's script says of nodes that were cut off from each other, see slurm_shell.
APART = re.compile(r"^\S+ does not reach \S+ at \S+ any more \(.*\)$", re.M)
FAILED = ("failed", "unproven")
LAST_WORDS = 10  # seconds that a job's last files may need to be seen


class JobSession(Session):
    """See Session."""

    def __init__(
        self, backend: SlurmBackend, plan: Plan, watch: Watch, *, resume: ResumeRequest | None = None,
        taken: Taken | None = None,
    ) -> None:  # fmt: skip
        """Submits the job, unless there is one already, and follows it."""
        super().__init__(backend, plan, watch, resume=resume, taken=taken or Taken())
        self._slurm, self.job, self._told = backend, backend.job, ""
        try:
            if not backend.attaches:
                self._submit()
            self.watch.say(f"job {self.job} of {backend.login.name}; it goes on without this terminal (./inv attach)")
            self._follower = backend.follow(self.plan, self.job)
        except BaseException:
            if self.job and not backend.attaches:
                backend.cancel(self.job)
            self.close()
            self._leave_nothing()
            raise
        self._opened.callback(self._end)

    def remembered(self) -> dict[str, Any]:
        """See Session."""
        return {"job": self.job, "login": self._slurm.login.name, "requeue": self._slurm.requeue}

    def carry_out(self, step: str) -> Ended:
        """See Session: wait until the job's journal tells the step's end."""
        command = self.plan.command(step)
        command.out.mkdir(parents=True, exist_ok=True)
        over_since: float | None = None
        while True:
            ended = self._ended(step)
            if ended is not None:
                if not command.ready:
                    self._slurm.fetch(self.plan, step)
                for sample in samples(self.plan.run, step):
                    self.sampler.add(sample)
                return ended
            self._say_standing()
            self.watch.look(command)
            if self._follower.over:
                over_since = over_since or time.monotonic()
                if time.monotonic() - over_since > LAST_WORDS:
                    return Ended(None, self._why_over(step), self.log("job"))
            time.sleep(POLL)

    def judge(self, command: Command) -> Judgement:
        """See Session; the job did it."""
        file = self.plan.run / ".judged" / f"{command.step}.json"
        if command.ready or not file.is_file():
            return Judgement([], [], [])
        return Judgement(**json.loads(file.read_text(encoding="utf-8")))

    def let_go(self, step: str, keep: str | None = None) -> None:
        """See Session; the job does."""

    def serve_on(self, server: str) -> None:
        """See Session; a job ends with its last step."""

    def _submit(self) -> None:
        self._slurm.ship(self.plan, self._written(self.plan))
        with held_back():  # else nobody knows the number of a job that is queued
            self.job = self._slurm.submit(self.plan)

    def _end(self) -> None:
        """Whatever ends the run here ends the job."""
        self._follower.close()
        if not (self._follower.over or self._ends_by_itself()):
            self._slurm.cancel(self.job)

    def _written(self, plan: Plan) -> list[tuple[Path, str]]:
        """The script, and each step's question to the judge, in the names that the job knows."""
        script = plan.run / "plan.sh"
        script.touch(mode=0o600)
        script.write_text(as_script(self._slurm.shell(plan)), encoding="utf-8")
        files = [(script, "plan.sh")]
        if self.taken.steps:  # the job passes over what its journal says is done
            journal = plan.run / "journal"
            done = [json.dumps({"step": step, "what": "done", "status": 0}) + "\n" for step in self.taken.steps]
            journal.write_text("".join(done), encoding="utf-8")
            files.append((journal, "journal"))
        for command in (self.command(step) for step in plan.steps):
            if command.ready:
                continue
            file = plan.run / ".questions" / f"{command.step}.json"
            file.parent.mkdir(exist_ok=True)
            text = self.question(command).to_json().replace(str(plan.run), str(self._slurm.folder(plan)))
            file.write_text(text, encoding="utf-8")
            files.append((file, f".questions/{file.name}"))
        return files

    def _ended(self, step: str) -> Ended | None:
        """How the journal says that the step ended; of what was cut off and begun anew only the last counts."""
        told = [line for line in self._follower.journal() if line["step"] == step]
        last = told[-1]["what"] if told else ""
        if last == "failed":
            return self._failed_node(step) or Ended(int(told[-1]["status"]))
        return ENDED.get(last)

    def _failed_node(self, step: str) -> Ended | None:
        """Of a spread step the node that it began with, as srun says: it stops the others, and its own status is
        theirs."""
        told = said(self.log(step))
        if apart := APART.search(told):
            return Ended(None, f"{apart[0]}; the nodes of {step} were stopped")
        if not (found := FIRST_BAD.search(told)):
            return None
        text = f"node {found['rank']} ({found['node']}) of {step} ended with exit {found['exit']}"
        return Ended(int(found["exit"]), f"{text}; the others were stopped")

    def _ends_by_itself(self) -> bool:
        """Whether the job has nothing left to do: a step failed, or the last one is done."""
        told = self._follower.journal()
        if not told:
            return False
        return told[-1]["what"] in FAILED or (told[-1]["step"] == self.plan.steps[-1] and told[-1]["what"] in ENDED)

    def _say_standing(self) -> None:
        standing = self._follower.standing
        state, reason = standing.get("state", ""), standing.get("reason", "None")
        text = f"job {self.job}: {state.lower()}"
        text += f" on {standing['nodes']}" if state == "RUNNING" else ""
        text += f", {reason}" if reason not in ("None", "") else ""
        text += f", started anew {standing['restarts']} times" if standing.get("restarts", "0") != "0" else ""
        if not (self._follower.over or self._follower.hears()):
            text = f"{self._slurm.login.name} does not answer; the job goes on"
        if state and text != self._told:
            self._told = text
            self.watch.say(text)

    def _why_over(self, step: str) -> str:
        standing = self._follower.standing
        state = standing.get("state", "").lower().replace("_", " ")
        reason = standing.get("reason", "None")
        return f"job {self.job} ended before {step} did: {state}" + ("" if reason == "None" else f", {reason}")
