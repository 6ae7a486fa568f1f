"""`inv lab`: one parameter's way from a lab's name to a run."""

from __future__ import annotations

from collections.abc import Callable

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir
from gpulab.engines import Backend
from gpulab.engines.backend import no_program
from gpulab.inside.resume_files import ResumeRequest
from gpulab.lab.lab import Lab
from gpulab.plan.driver import refuse_old_driver
from gpulab.plan.plan import Plan
from gpulab.records.read import run_name
from gpulab.records.writer import RunFolder, Writer
from gpulab.runs.lab_run import LabRun
from gpulab.runs.request import LabRequest
from gpulab.runs.resolve import asked_ports, resolve
from gpulab.runs.spec import RunSpec


def run_lab(request: LabRequest) -> Outcome:
    """Run a lab. Raises UsageError before anything is started when something is wrong with it."""
    spec = resolve(request)
    tell_ports(spec)
    return begin(spec).carry_out()


def tell_ports(spec: RunSpec) -> None:
    """Say which servers do not get the port that they are to have."""
    for step, asked in asked_ports(spec.lab, spec.settings).items():
        if spec.ports[step] != asked:
            console.print(f"port {asked} is taken, {step} will serve on {spec.ports[step]}")


def begin(spec: RunSpec, resumes: Callable[[Plan], ResumeRequest] | None = None) -> LabRun:
    """Check what can be checked, then open the run's record, last. `resumes`: what there is for it of an earlier run;
    where it can't be had there is no run."""
    lab = spec.lab
    console.print(f"[bold]{lab.name}[/] {lab.title}\n{spec.why}")
    if spec.profile == "gpu":
        refuse_old_driver(spec.stack, spec.machines)
    spec.engine.prepare()
    _check_before(lab, spec.engine, spec.plan(runs_dir()))
    folder = RunFolder.make(lab.slug)
    try:
        planned = spec.plan(folder.path)
        resume_request = resumes(planned) if resumes else None
        writer = Writer(folder, spec.record(run_name(folder.path)))
        return LabRun(writer, spec, planned, resume_request=resume_request)
    except BaseException:  # hosts that cannot meet, Ctrl-C: nothing has started, so there is no run
        folder.discard()
        raise


def _check_before(lab: Lab, backend: Backend, planned: Plan) -> None:
    """What can be known before the first step: every program is there, the disk has room."""
    if command := backend.lacks(planned):
        raise no_program(planned, command)
    folder, free = backend.room()
    needed = lab.needs.disk_gib if planned.profile == "gpu" else 0.1
    if free < needed:
        raise UsageError(
            f"{folder} has {free:.2f} GiB free, {lab.name} needs {needed:g}",
            "free some space, or put the runs elsewhere: GPULAB_RUNS=/elsewhere",
        )
