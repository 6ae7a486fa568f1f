"""`inv lab`: one parameter's way from a lab's name to a record."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text

from gpulab.common import redact
from gpulab.common.causes import likely_cause, tail
from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir, shown
from gpulab.common.ports import FIRST, free_port
from gpulab.common.yamlfile import fault
from gpulab.engines import Engine, choose_engine
from gpulab.engines.engine import Ended
from gpulab.engines.progress import Watch
from gpulab.engines.slurm import SlurmEngine
from gpulab.inside.metrics import metrics
from gpulab.inside.resume_files import ResumeRequest
from gpulab.lab.lab import Lab, find_lab
from gpulab.plan.driver import refuse_old_driver
from gpulab.plan.machine import Machine
from gpulab.plan.plan import Command, Plan, parse_settings
from gpulab.plan.script import as_script
from gpulab.records.record import Record, now, write_atomically
from gpulab.reports.summary import comparison, headline, run_page
from gpulab.runs.spec import Order, compute_nodes_for, machines_of
from gpulab.stacks.stack import load_stack

TAIL = 12  # lines of a failed step's log that are shown
HUBS = ("modelscope", "hf")


def run_lab(
    name: str, *, rehearse: bool = False, dry: bool = False, settings: Sequence[str] = (), keep_serving: bool = False,
    hub: str = HUBS[0], engine: str = "", hosts: str = "", limit: str = "", nodes: int = 0, requeue: bool = False,
    only: str = "",
) -> Outcome:  # fmt: skip
    """Run a lab, or print its plan. Raises UsageError before anything is started when something is wrong with it."""
    if hub not in HUBS:
        raise UsageError(f"no hub {hub!r}", f"one of {', '.join(HUBS)}")
    lab = find_lab(name).only(only.split(",") if only else [])
    count = node_count(lab, nodes)
    if engine == SlurmEngine.name and keep_serving:
        raise UsageError("a job ends with its last step", "leave --keep-serving out, or take --engine docker")
    compute_nodes = compute_nodes_for(lab.needs, engine, hosts, limit, count)
    machines = machines_of(compute_nodes, engine, count)
    if dry and lab.rehearse.impossible and not rehearse:
        profile, why = "gpu", "as written"  # there is nothing else to show
    else:
        profile, why = choose_profile(lab, machines, count, rehearse=rehearse)
    stack = load_stack("cpu" if profile == "cpu" else lab.stack)
    session = choose_engine(engine, stack, compute_nodes, hosts, requeue=requeue)
    by_step = parse_settings(settings, lab)
    ports = choose_ports(lab, by_step, say=not dry)
    order = Order(lab, profile, why, stack, session, compute_nodes, machines, hosts, count, by_step, ports, hub)
    if dry:
        script = as_script(session.shell(order.plan(runs_dir() / lab.slug / "dry")))
        return Outcome({"plan": script, "profile": profile}, text=Text(script.rstrip()))
    return begin(order, keep_serving=keep_serving).carry_out()


def begin(
    order: Order, *, keep_serving: bool = False, handing_over: Callable[[Plan], ResumeRequest] | None = None
) -> LabRun:
    """Check what can be checked, then open the run's record. `handing_over`: what there is for it of an earlier run."""
    lab, session = order.lab, order.engine
    console.print(f"[bold]{lab.name}[/] {lab.title}\n{order.why}")
    if order.profile == "gpu":
        refuse_old_driver(order.stack, order.machines)
    session.prepare()
    _check_before(lab, session, order.plan(runs_dir()))
    record = Record.open(lab.slug, order.described())
    planned = order.plan(record.folder)
    resume_request = handing_over(planned) if handing_over else None
    try:
        return LabRun(record, order, planned, keep_serving=keep_serving, resume_request=resume_request)
    except BaseException:  # hosts that cannot meet, Ctrl-C: nothing has started, so there is no run
        session.sweep()
        record.discard()
        raise


def node_count(lab: Lab, asked: int) -> int:
    """How many nodes: those asked for, else those that the lab needs. Raises UsageError where no step spreads."""
    spreads = any(step.spread for step in lab.steps.values())
    count = asked or (lab.needs.nodes if spreads else 1)
    if count > 1 and not spreads:
        raise UsageError(f"no step of {lab.name} spreads over nodes", "leave --nodes out, or take a lab that does")
    return count


def choose_profile(lab: Lab, machines: Sequence[Machine], nodes: int = 1, *, rehearse: bool) -> tuple[str, str]:
    """(`gpu` or `cpu`, why in a line). Raises UsageError when the lab can't run here at all."""
    lacks = next(filter(None, (machine.lacks(lab.needs) for machine in machines)), None)
    if not lacks and len(machines) < nodes:
        lacks = f"{len(machines)} machine here, the lab needs {nodes} (--hosts gpus.ini)"
    if not lacks and not rehearse:
        gpus = ", ".join(sorted({g.name for machine in machines for g in machine.gpus})) or "no GPU needed"
        return "gpu", f"running {lab.model or 'it'} as written ({gpus})"
    if lab.rehearse.impossible:
        raise UsageError(
            f"{lab.name} can't be rehearsed on a CPU: {lab.rehearse.impossible}", lacks or "run it without --rehearse"
        )
    of = f" with a tiny twin of {lab.model}" if lab.rehearse.twin else ""
    return "cpu", f"{lacks or 'as asked'}: rehearsing on the CPU{of}"


def choose_ports(lab: Lab, by_step: Mapping[str, dict[str, str]], *, say: bool) -> dict[str, int]:
    """A free port for each server step, the one asked for with --set first. Takes `port` out of the settings."""
    ports: dict[str, int] = {}
    for name in (n for n, s in lab.steps.items() if s.ready):
        asked = by_step.get(name, {}).pop("port", None)
        if asked is not None and not (asked.isdigit() and 0 < int(asked) < 65536):
            raise UsageError(f"--set {name}.port={asked}: not a port", "a number from 1 to 65535")
        wanted = int(asked) if asked else FIRST + len(ports)
        ports[name] = free_port(wanted, taken=ports.values())
        if say and ports[name] != wanted:
            console.print(f"port {wanted} is taken, {name} will serve on {ports[name]}")
    return ports


def _check_before(lab: Lab, session: Engine, planned: Plan) -> None:
    """What can be known before the first step: every program is there, the disk has room."""
    programs = {c.argv[0]: c.step for c in reversed(planned.commands)}
    if program := session.lacks(list(programs)):
        where = ["steps", programs[program], "run"]
        raise fault(lab.file, where, f"the stack {planned.stack.name} has no program {program!r}", "check its spelling")
    folder, free = session.room()
    needed = lab.needs.disk_gib if planned.profile == "gpu" else 0.1
    if free < needed:
        raise UsageError(
            f"{folder} has {free:.2f} GiB free, {lab.name} needs {needed:g}",
            "free some space, or put the runs elsewhere: GPULAB_RUNS=/elsewhere",
        )


class LabRun:
    """Carries out one plan and keeps its record. Steps that the record has as done already are passed over."""

    def __init__(
        self, record: Record, order: Order, planned: Plan, *, keep_serving: bool = False,
        resume_request: ResumeRequest | None = None, begun: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.record = record
        self.order = order
        self.watch = Watch(console, list(planned.steps))
        self.engine = order.engine
        self.begun = begun or {}
        self.engine.begin(planned, self._replan, self.watch, resume_request)
        self.record.data |= {**self.engine.remembered(), "keep_serving": keep_serving}
        self.record.save()
        if planned.left_out:
            self.record.data["left_out"] = dict(planned.left_out)
        servers = [c.step for c in planned.commands if c.ready]
        self.keep = servers[-1] if keep_serving and servers else None

    def carry_out(self) -> Outcome:
        """All steps in order, up to the first that fails; the record is closed whatever happens."""
        state = "failed"  # unless it gets further
        try:
            with self.engine.closing(), self.watch:
                for step, why in self.engine.plan.left_out.items():
                    self.watch.say(f"[yellow]left out[/] {step}: {why}")
                self._write_script()
                state = "done" if self._steps() else "failed"
                if state == "done" and self.keep:
                    self._serve_on(self.keep)
        except KeyboardInterrupt:
            state = "interrupted"
            self.record.data["failures"].append("interrupted")
        except OSError as error:
            self.record.data["failures"].append(
                f"the run's record can't be written: {error.strerror} ({error.filename})"
            )
        except Exception as error:  # a mistake of the lab's own: the record says so, too
            self.record.data["failures"].append(f"inv itself failed: {type(error).__name__}: {error}")
            raise
        finally:
            self._finish(state)
        code = {"done": 0, "interrupted": 130}.get(state, 1)
        data = redact.deep(self.record.data)
        if data["profile"] == "cpu" and state == "done":
            console.print(headline(data))
        return Outcome(
            {k: data[k] for k in ("run", "state", "profile", "metrics")} | {"folder": self.record.folder},
            failures=data["failures"], text=run_page(data, self.record.folder), code=code,
        )  # fmt: skip

    def _replan(self, ports: dict[str, int]) -> Plan:
        """The plan on other ports; the record knows them before anything uses them."""
        self.record.data["ports"] = ports
        self.record.save()
        return self.order.plan(self.record.folder, ports)

    def _steps(self) -> bool:
        done = {entry["step"] for entry in self.record.data["steps"]}
        for command in [self.engine.command(step) for step in self.engine.plan.steps]:
            if command.step in done or (command.until in done and command.step != self.keep):
                continue
            self.watch.start(command.step)
            started = self.begun.get(command.step) or now()
            entry: dict[str, Any] = {"step": command.step, "state": "running", "started": started, "exit": None}
            self.record.data["steps"].append(self._described(entry, command))
            self.record.save()
            began = time.monotonic()
            try:
                ended = self.engine.carry_out(command.step)
                command = self.engine.command(command.step)  # a taken port changes the plan
                failures = self._judge(entry, command, ended)
            except KeyboardInterrupt:
                entry["state"] = "interrupted"
                raise
            finally:
                seconds = self.engine.lasted(command.step) or time.monotonic() - began
                entry |= {"ended": now(), "seconds": round(seconds, 2)}
            self.record.data["failures"] += failures
            self.record.save()
            if failures:
                return False
            self.engine.let_go(command.step, keep=self.keep)
        return True

    def _described(self, entry: dict[str, Any], command: Command) -> dict[str, Any]:
        entry |= {
            "argv": redact.argv(command.argv),
            "cwd": command.cwd,
            "env": redact.environment(command.env),
            "log": self.engine.log(command.step).relative_to(self.record.folder),
        }
        if command.url:
            entry["url"] = command.url
        return entry

    def _judge(self, entry: dict[str, Any], command: Command, ended: Ended) -> list[str]:
        """What failed about a step: its exit, its artefacts, its proofs. Fills the record's entry."""
        log = self.engine.log(command.step)
        self._described(entry, command)
        entry |= {"exit": ended.exit, "metrics": metrics(command.out), "peaks": self.engine.peaks.get(command.step, {})}
        failure = ended.failure or (f"{command.step} ended with exit {ended.exit}" if ended.exit else None)
        if failure:
            failures = [f"{failure}, its log: {shown(ended.log or log)}"]
            if cause := likely_cause(log, f"exit {ended.exit}"):
                failures.append(f"likely cause: {cause}")
        else:
            judged = self.engine.judge(command)
            entry |= {"artefacts": judged.artefacts, "proofs": judged.proofs}
            failures = judged.failures
        entry["state"] = "failed" if failures else "done"
        evidence = "; ".join(p["evidence"] for p in entry.get("proofs", []) if p["holds"])
        self.watch.end(
            command.step, not failures, evidence or (f"at {self.engine.reach(command)}" if command.url else "")
        )
        if failure:
            for line in tail(ended.log or log, TAIL):
                console.print(f"    {redact.text(line)}", markup=False, style="dim")
        return failures

    def _serve_on(self, server: str) -> None:
        command = self.engine.plan.command(server)
        assert command.ready  # noqa: S101 (only servers are kept)
        body = json.dumps({"model": command.ready.chat, "messages": [{"role": "user", "content": "Hello"}]})
        with contextlib.suppress(KeyboardInterrupt):  # it may come the moment that the first line is out
            console.print(f"[bold]{server}[/] serves at {self.engine.reach(command)} until Ctrl-C; try it:")
            console.print(
                f"  curl {command.url}/chat/completions -H 'Content-Type: application/json' -d '{body}'", markup=False
            )
            self.engine.serve_on(server)

    def _write_script(self) -> None:
        path = self.record.folder / "plan.sh"
        write_atomically(path, as_script(self.engine.shell(self.engine.plan)))
        path.chmod(0o700)

    def _finish(self, state: str) -> None:
        """Figures, curves and the last write of the record."""
        data = self.record.data
        data["steps"].sort(key=lambda entry: self.engine.plan.steps.index(entry["step"]))
        data["metrics"] = {s["step"]: s["metrics"] for s in data["steps"] if s.get("metrics")}
        data["peaks"] = self.engine.peaks
        try:
            self._write_script()  # a taken port changes the plan
            if compare := self.engine.plan.lab.compare:
                write_atomically(self.record.folder / "comparison.md", comparison(data, compare))
            from gpulab.reports.curves import draw

            draw(self.record.folder, data)
        except OSError as error:
            data["failures"].append(f"not all of the run's folder could be written: {error.strerror}")
        with contextlib.suppress(OSError):  # the disk is full: what was written before stands
            self.record.close(state)
