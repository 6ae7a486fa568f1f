"""The verbs that plan, run and look at labs."""

from __future__ import annotations

from typing import Any

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.verbs.options import (
    ENGINE,
    HOSTS,
    HUB,
    LAB,
    LIMIT,
    MODEL,
    NODES,
    ONLY,
    RUN,
    SETTINGS,
    Option,
    first,
    flag,
    number,
    repeated,
)
from gpulab.verbs.verb import verb


@verb(
    LAB,
    flag("rehearse", "on the CPU with a tiny twin, even where there is a GPU"),
    flag("dry", "print the plan as a shell script and run nothing"),
    MODEL,
    SETTINGS,
    flag("keep_serving", "leave the last server up when all is done, until Ctrl-C"),
    HUB,
    ENGINE,
    HOSTS.called("on a host of this inventory: gpus.ini"),
    LIMIT,
    NODES,
    flag("requeue", "a job that loses its node starts again, from its last checkpoint"),
    ONLY,
    Option("from_", "start at this step; those before it are kept of the lab's last run", to="start"),
)
def lab(**options: Any) -> Outcome:
    """Run a lab: on the GPUs it needs, else rehearsed on the CPU.

    It takes the largest of the lab's models that fits. A rehearsal runs
    the real ms-swift with a tiny twin of the model.
    """
    from gpulab.runs.dry import dry
    from gpulab.runs.execute import run_lab
    from gpulab.runs.request import LabRequest
    from gpulab.runs.start_from import start_from

    only_shown = options.pop("dry")
    request = LabRequest(**options)
    if only_shown:
        return dry(request)
    return start_from(request) if request.start else run_lab(request)


@verb(
    LAB,
    HOSTS.called("on hosts of this inventory; they are asked for their GPUs, unless --gpus says"),
    LIMIT,
    NODES,
    number("gpus", "GPUs of each node; no host is asked, so the cluster may be one that you do not have yet"),
    number("vram_gib", "memory of each GPU in GiB, as --gpus", default=0.0),
    MODEL,
    SETTINGS.called("step.key=value, as in inv lab: train.tensor_model_parallel_size=4"),
)
def plan(**options: Any) -> Outcome:
    """Show what a lab would do on GPUs, and start nothing.

    Ranks, devices, the model's layout and why, memory.
    """
    from gpulab.runs.preview import show_plan

    return show_plan(**options)


@verb(
    Option("pattern", "only labs with this in their name: `rlhf/`", by_place=True),
    number("jobs", "how many at a time", default=1),
    Option("breaks", "`one` or `all`: run what the labs say breaks them, and see a proof fail each time"),
)
def rehearse(**options: Any) -> Outcome:
    """Rehearse many labs on the CPU, ms-swift imported once.

    A line a lab, then what passed and what failed.
    """
    from gpulab.runs.rehearse import rehearse

    return rehearse(**options)


@verb(
    first("lab", "the lab's folder, `tuners`, or one step of it, `tuners:lora`", to="name"),
    Option("beside", "another one: where the two part", by_place=True),
    ONLY,
    SETTINGS.called("step.key=value, as in inv lab: train.max_steps=2"),
)
def trace(**options: Any) -> Outcome:
    """Trace a lab's rehearsal: a flow chart of ms-swift's main line.

    Each step's page has it with file and line, the code behind each flag, and the calls with their times.
    """
    from gpulab.runs.trace import trace

    return trace(**options)


@verb(
    Option("export", "also write it as Markdown, with what is next: progress.md"),
    repeated("records", "a folder of somebody's runs; given again, they stand side by side"),
)
def curriculum(export: str, records: list[str]) -> Outcome:
    """Show the learning plan: its rows, their labs, what is done.

    From the runs on record.
    """
    from gpulab.reports.curriculum import show_curriculum
    from gpulab.reports.team import show_team

    if export and records:
        raise UsageError("--export and --records exclude each other", "--records FOLDER --records FOLDER")
    return show_team(records) if records else show_curriculum(export)


@verb(
    Option("lab", "one lab, at length: `quickstart` or `start/quickstart`", to="name", by_place=True),
    Option("gpu", "which labs run on a GPU of so many GiB, and with which model: 12, or 2x24 for two"),
    flag("write", "bring the READMEs' tables of labs up to date"),
)
def labs(name: str, gpu: str, write: bool) -> Outcome:
    """List the labs: what they need, how their last runs ended."""
    from gpulab.reports.labs import list_labs
    from gpulab.reports.labs_by_gpu import labs_on
    from gpulab.reports.new_lab import write_tables

    if sum(map(bool, (name, gpu, write))) > 1:
        raise UsageError("--lab, --gpu and --write exclude each other", "one of them alone")
    return write_tables() if write else labs_on(gpu) if gpu else list_labs(name)


@verb(
    first("name", "the new lab: `train/my-lab`"),
    Option("like", "the lab that it begins as", default="quickstart"),
    Option("title", "what it shows, in a line"),
)
def new(**options: Any) -> Outcome:
    """Make a lab like another one, which passes as it is."""
    from gpulab.reports.new_lab import new_lab

    return new_lab(**options)


@verb(Option("lab", "only this lab's runs", by_place=True), number("limit", "how many, newest first", default=20))
def runs(**options: Any) -> Outcome:
    """List the runs on record, newest first."""
    from gpulab.reports.listings import list_runs

    return list_runs(**options)


@verb(RUN)
def show(**options: Any) -> Outcome:
    """Show one run: steps, figures, proofs, how to reproduce it."""
    from gpulab.reports.listings import show_run

    return show_run(**options)


@verb(RUN)
def judge(**options: Any) -> Outcome:
    """Judge a finished run again, after a proof changed.

    From the files that are there: nothing is run. The record keeps the first verdict beside the new one.
    """
    from gpulab.runs.judge import judge

    return judge(**options)


@verb(RUN, LIMIT.called("on these hosts instead of those it ran on: gpu3,gpu4"))
def resume(**options: Any) -> Outcome:
    """Go on with a run that broke, from its last whole checkpoint.

    The run was interrupted, killed or failed; the new one has a record of its own.
    """
    from gpulab.runs.resume import resume

    return resume(**options)


@verb(RUN)
def attach(**options: Any) -> Outcome:
    """Follow a run on hosts again, containers or a job."""
    from gpulab.runs.remote_runs import attach

    return attach(**options)


@verb(RUN)
def cancel(**options: Any) -> Outcome:
    """End a run on all its hosts, also one that is not followed."""
    from gpulab.runs.remote_runs import cancel

    return cancel(**options)


@verb(HOSTS)
def queue(**options: Any) -> Outcome:
    """Show the hosts' queue: jobs, nodes, why a node takes none."""
    from gpulab.runs.remote_runs import queue

    return queue(**options)
