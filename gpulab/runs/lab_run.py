"""A run as it goes: its steps one after the other, each judged, and a record that says what came of them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping

from gpulab.common import overwrite, redact
from gpulab.common.causes import likely_cause, tail
from gpulab.common.console import console
from gpulab.common.failure import Failure
from gpulab.common.files import write_atomically
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.engines import open_session
from gpulab.engines.ended import Ended
from gpulab.engines.interrupts import ignored
from gpulab.engines.progress import Watch
from gpulab.inside.metrics import metrics
from gpulab.inside.resume_files import ResumeRequest, Taken
from gpulab.plan.plan import Command, Plan
from gpulab.plan.script import as_script
from gpulab.records.record import Proof, RunRecord, State, StepRecord, now
from gpulab.records.writer import Writer
from gpulab.reports.summary import comparison, headline, run_page
from gpulab.runs.spec import RunSpec

TAIL = 12  # lines of a failed step's log that are shown


def told(record: RunRecord) -> list[str | Failure]:
    """A run's failures as a verb tells them: one that was interrupted can go on."""
    cure = f"./inv resume {record.run}"
    return [Failure(line, cure) if line == "interrupted" else line for line in record.failures]


class LabRun:
    """Carries out one plan and keeps its record. Steps that the record has as done already are passed over."""

    def __init__(
        self, writer: Writer, spec: RunSpec, planned: Plan, *, resume_request: ResumeRequest | None = None,
        taken: Taken | None = None, begun: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.writer = writer
        self.record: RunRecord = writer.record
        self.folder = writer.folder
        self.spec = spec
        self.watch = Watch(console, list(planned.steps))
        self.begun = begun or {}
        servers = [c.step for c in planned.commands if c.ready]
        self.keep = servers[-1] if self.record.keep_serving and servers else None
        self.session = open_session(spec.engine, planned, self._replan, self.watch, resume=resume_request, taken=taken)
        try:
            for field, value in self.session.remembered().items():
                setattr(self.record, field, value)
            self.record.left_out = dict(planned.left_out)
            writer.save()
        except BaseException:
            self.session.close()
            raise

    def carry_out(self, first: Callable[[], None] = lambda: None) -> Outcome:
        """All steps in order, up to the first that fails; the record is closed whatever happens. `first`: what else is
        to be done before them."""
        state: State = "failed"  # unless it gets further
        try:
            with self.session.closing(), self.watch:
                first()
                for step, why in self.session.plan.left_out.items():
                    self.watch.say(f"[yellow]left out[/] {step}: {why}")
                self._write_script()
                state = "done" if self._steps() else "failed"
                if state == "done" and self.keep:
                    self._serve_on(self.keep)
        except KeyboardInterrupt:
            state = "interrupted"
            self.record.failures.append("interrupted")
        except OSError as error:
            self.record.failures.append(f"the run's record can't be written: {error.strerror} ({error.filename})")
        except Exception as error:  # a mistake of the lab's own: the record says so, too
            self.record.failures.append(f"inv itself failed: {type(error).__name__}: {error}")
            raise
        finally:
            with ignored():
                self._finish(state)
        code = {"done": 0, "interrupted": 130}.get(state, 1)
        record = RunRecord.model_validate(redact.deep(self.record.as_data()))
        rehearse = self.spec.lab.rehearse
        if record.profile == "cpu" and state == "done" and (rehearse.twin or rehearse.twins):
            console.print(headline(record))
        return Outcome(
            {k: getattr(record, k) for k in ("run", "state", "profile", "metrics")} | {"folder": self.folder},
            failures=told(record), text=run_page(record, self.folder), code=code,
        )  # fmt: skip

    def _replan(self, ports: dict[str, int]) -> Plan:
        """The plan on other ports; the record knows them before anything uses them."""
        self.record.ports = ports
        self.writer.save()
        return self.spec.plan(self.folder, ports)

    def _steps(self) -> bool:
        done = {entry.step for entry in self.record.steps}
        for command in [self.session.command(step) for step in self.session.plan.steps]:
            if command.step in done or (command.until in done and command.step != self.keep):
                continue
            self.watch.start(command.step)
            started = self.begun.get(command.step) or now()
            entry = self._described(StepRecord(step=command.step, started=started), command)
            self.record.steps.append(entry)
            self.writer.save()
            began = time.monotonic()
            try:
                ended = self.session.carry_out(command.step)
                command = self.session.command(command.step)  # a taken port changes the plan
                failures = self._judge(entry, command, ended)
            finally:
                seconds = self.session.lasted(command.step) or time.monotonic() - began
                entry.ended, entry.seconds = now(), round(seconds, 2)
            self.record.failures += failures
            self.writer.save()
            if failures:
                return False
            self.session.let_go(command.step, keep=self.keep)
        return True

    def _described(self, entry: StepRecord, command: Command) -> StepRecord:
        entry.argv = redact.argv(command.argv)
        entry.cwd = str(command.cwd)
        entry.env = redact.environment(command.env)
        entry.log = str(self.session.log(command.step).relative_to(self.folder))
        entry.url = command.url
        return entry

    def _judge(self, entry: StepRecord, command: Command, ended: Ended) -> list[str]:
        """What failed about a step: its exit, its artefacts, its proofs. Fills the record's entry."""
        log = self.session.log(command.step)
        for name in {command.step, *(rank.name for rank in self.session.ranks(command.step))}:
            overwrite.secrets_in(self.session.log(name))
        self._described(entry, command)
        entry.exit = ended.exit
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # they show, they don't judge
            entry.metrics = metrics(command.out, self.spec.lab.figures)
        entry.peaks = self.session.peaks.get(command.step, {})
        failure = ended.failure or (f"{command.step} ended with exit {ended.exit}" if ended.exit else None)
        if failure:
            failures = [f"{failure}, its log: {shown(ended.log or log)}"]
            if cause := likely_cause(log, f"exit {ended.exit}", serves=command.ready is not None):
                failures.append(f"likely cause: {cause}")
        else:
            judged = self.session.judge(command)
            entry.artefacts = judged.artefacts
            entry.proofs = [Proof.model_validate(proof) for proof in judged.proofs]
            failures = judged.failures
        entry.state = "failed" if failures else "done"
        evidence = "; ".join(p.evidence for p in entry.proofs if p.holds)
        self.watch.end(
            command.step, not failures, evidence or (f"at {self.spec.engine.reach(command)}" if command.url else "")
        )
        if failure:
            for line in tail(ended.log or log, TAIL):
                console.print(f"    {line}", markup=False, style="dim")
        return failures

    def _serve_on(self, server: str) -> None:
        command = self.session.plan.command(server)
        assert command.ready  # noqa: S101 (only servers are kept)
        body = json.dumps({"model": command.ready.chat, "messages": [{"role": "user", "content": "Hello"}]})
        with contextlib.suppress(KeyboardInterrupt):  # it may come the moment that the first line is out
            console.print(f"[bold]{server}[/] serves at {self.spec.engine.reach(command)} until Ctrl-C; try it:")
            console.print(
                f"  curl {command.url}/chat/completions -H 'Content-Type: application/json' -d '{body}'", markup=False
            )
            self.session.serve_on(server)

    def _write_script(self) -> None:
        path = self.folder / "plan.sh"
        write_atomically(path, as_script(self.spec.engine.shell(self.session.plan)), mode=0o700)

    def _finish(self, state: State) -> None:
        """Figures, the last write of the record, and its page."""
        record = self.record
        record.steps.sort(key=lambda entry: self.session.plan.steps.index(entry.step))
        record.metrics = {step.step: step.metrics for step in record.steps if step.metrics}
        record.peaks = self.session.peaks
        try:
            self._write_script()  # a taken port changes the plan
            if compare := self.session.plan.lab.compare:
                write_atomically(self.folder / "comparison.md", comparison(record, compare))
        except OSError as error:
            record.failures.append(f"not all of the run's folder could be written: {error.strerror}")
        with contextlib.suppress(OSError):  # the disk is full: what was written before stands
            self.writer.close(state)
        try:
            from gpulab.reports.report import write_report

            write_report(self.folder, record)
        except Exception as error:  # the run has ended as it has ended
            console.print(f"[yellow]no report of this run[/] {type(error).__name__}: {error}")
