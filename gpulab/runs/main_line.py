"""docs/main-line.md, made of traced rehearsals: python -m gpulab.runs.main_line"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.files import write_atomically
from gpulab.common.paths import ROOT
from gpulab.lab import flags
from gpulab.plan.plan import TRACES
from gpulab.records.read import read
from gpulab.reports.traces import paths
from gpulab.reports.traces.boxes import main_line
from gpulab.reports.traces.chart import flow_chart, table
from gpulab.reports.traces.read import read_trace
from gpulab.runs.execute import run_lab
from gpulab.runs.request import LabRequest

PAGE = ROOT / "docs" / "main-line.md"
HEAD = """\
<!-- Made by `python -m gpulab.runs.main_line` from traced rehearsals. -->
# The main line of each command

What ms-swift does from the command line to the last file, traced while it ran on a CPU: each box is a function of the
installed version that was called, in the order of the first calls. Files are below `site-packages`. A chart has 25
boxes at most, its table all. `./inv trace LAB` makes the same of any lab, with the tree of all calls and their times,
and `./inv trace A B` shows where two part. What all modules are for: [the module map](module-map.md).
"""
# Each command by its rehearsal: lab, steps, settings. A few training steps are enough to pass every place.
SOURCES: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "swift sft": ("train/plugins", "usual", ["usual.max_steps=4", "usual.eval_steps=4", "usual.logging_steps=1"]),
    "swift rlhf": ("rlhf/preferences", "train-dpo", []),
    "swift infer": ("start/quickstart", "infer", []),
    "swift export": ("start/quickstart", "merge", []),
    "swift deploy": ("start/quickstart", "serve", []),
    "megatron sft": ("train/megatron", "single", []),
}
# Which flags stand in the page; of those that the rehearsal alone adds, none.
ASIDE = {
    "torch_dtype",
    "fp16",
    "bf16",
    "use_cpu",
    "check_model",
    "ddp_backend",
    "max_steps",
    "eval_steps",
    "logging_steps",
    "gradient_checkpointing",
}


def section(command: str, run: Path) -> str:
    """A command's part of the page, from the run that traced it."""
    lab, name, _ = SOURCES[command]
    step = next(step for step in read(run).steps if step.step == name)
    trace = read_trace(run / TRACES / name)
    assert trace, f"{run}: {name} has no trace"  # noqa: S101 (a run that failed says so before)
    boxes = main_line(trace)
    given = [flag for flag in flags.read(step.argv, Path(step.cwd)) if flag not in ASIDE]
    parts = [
        f"## {command}", f"From `./inv trace {lab}:{name}`.", flow_chart(boxes), table(boxes),
        "The code behind its flags:", paths.table(trace, given),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def sections(page: str) -> dict[str, str]:
    """The page's parts by command."""
    parts = page.split("\n## ")[1:]
    return {part.partition("\n")[0]: "## " + part.rstrip("\n") + "\n" for part in parts}


def main() -> None:
    """Trace every command, a lab once, and write the page."""
    found: dict[str, str] = {}
    for lab in dict.fromkeys(lab for lab, _, _ in SOURCES.values()):
        of_lab = {command: source for command, source in SOURCES.items() if source[0] == lab}
        only = ",".join(step for _, step, _ in of_lab.values())
        settings = [setting for _, _, some in of_lab.values() for setting in some]
        outcome = run_lab(LabRequest(name=lab, only=only, settings=settings, rehearse=True, traced=True))
        if outcome.failures:
            sys.exit(f"{lab}: {outcome.failures[0]}")
        found |= {command: section(command, Path(outcome.data["folder"])) for command in of_lab}
    write_atomically(PAGE, "\n".join([HEAD, *(found[command] for command in SOURCES)]))
    console.print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
