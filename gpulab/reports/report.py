"""`inv report`: one run as one HTML page, for a browser, a mail or a ticket. It is made at the end of each run, too."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from gpulab.common import redact
from gpulab.common.causes import tail
from gpulab.common.files import write_atomically
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.inside.answers import Answer, answers_in
from gpulab.records.read import find_run, read
from gpulab.records.record import GOING, RunRecord, StepRecord
from gpulab.reports.differences import beside, earlier, said
from gpulab.reports.page import chart, render
from gpulab.reports.series import resources, training
from gpulab.reports.summary import figures, judged_twice

FILE = "report.html"
COLOURS = {"done": "good", "failed": "bad", "killed": "bad", "interrupted": "warn"}
MAIN = ("ms-swift", "torch", "transformers", "peft", "trl", "vllm", "sglang", "lmdeploy", "deepspeed", "megatron-core",
        "mcore-bridge", "evalscope")  # fmt: skip
LINES = 40  # of each log
LONGEST = 1000  # letters of a line, an answer or a question
QUESTIONS = 8
LARGEST = 32 * 2**20  # bytes of answers that are read


def show_report(run: str) -> Outcome:
    """Make the page of a run."""
    folder = find_run(run)
    page = write_report(folder, read(folder))
    said = f"{shown(page)} ({page.stat().st_size / 1024:.0f} KiB): open it in a browser"
    return Outcome({"report": page, "bytes": page.stat().st_size}, text=said)


def write_report(folder: Path, record: RunRecord) -> Path:
    """Write report.html beside the record, for its owner's eyes like it."""
    page = folder / FILE
    write_atomically(page, page_of(folder, RunRecord.model_validate(redact.deep(record.as_data()))), mode=0o600)
    return page


def page_of(folder: Path, record: RunRecord) -> str:
    """The page's HTML."""
    before = earlier(folder, record)
    used, spans = resources(folder)
    steps = [s for s in record.steps if s.argv]
    return render(
        "report.html.j2",
        title=f"{record.run} {record.title}", record=record, colour=COLOURS.get(record.state, ""), colours=COLOURS,
        warnings=list(warnings(record)),
        reproduce=f"{'sbatch' if record.job else 'bash'} {shlex.quote(shown(folder / 'plan.sh'))}",
        asked=shlex.join(record.argv),
        curves=[chart(name, {"": some}, "training step") for name, some in training(folder, record).items()],
        used=[chart("", used, "seconds", spans)] if used else [],
        figures=figures, commands=[{"name": s.step, "text": command(s)} for s in steps],
        answers=answers(folder, record),
        last={"name": before[1].run, "profile": before[1].profile, "state": before[1].state,
              "groups": beside([before, (folder, record)])} if before else None,
        environment=environment(record), packages=record.stack.get("packages") or {}, logs=list(logs(folder, record)),
    )  # fmt: skip


def warnings(record: RunRecord) -> Iterator[dict[str, str]]:
    """What a reader must know before the figures."""
    for failure in record.failures:
        yield {"colour": "bad", "text": failure}
    if record.state in GOING:
        yield {
            "colour": "warn",
            "text": f"the run was {record.state} when this page was made: ./inv report {record.run}",
        }
    if record.profile == "cpu":
        yield {"colour": "warn", "text": "a rehearsal: these are the figures of a tiny twin, not of the model"}
    for step, why in record.left_out.items():
        yield {"colour": "warn", "text": f"{step} was left out: {why}"}
    if record.git.get("dirty"):
        yield {"colour": "warn", "text": "the lab's own files differed from their commit"}
    for entry in record.steps:
        if entry.taken_over_from:
            yield {"colour": "warn", "text": f"{entry.step} was taken over from {entry.taken_over_from}"}
    if first := record.first_verdict:
        yield {"colour": "warn", "text": judged_twice(record, first)}
    if record.resumed_by:
        yield {"colour": "warn", "text": f"{record.resumed_by} went on with this run"}


def command(step: StepRecord) -> str:
    """A step's command as one types it."""
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in step.env.items())
    return f"cd {shlex.quote(step.cwd)} &&\n{settings} \\\n{shlex.join(step.argv)}"


def environment(record: RunRecord) -> dict[str, str]:
    """Where it ran and with which versions, a line each."""
    stack, packages = record.stack, record.stack.get("packages") or {}
    commit = record.git.get("commit")
    found = {
        "engine": f"{record.engine}{' on ' + ', '.join(record.hosts) if record.hosts else ''}",
        "stack": f"{stack.get('name', '')} {stack.get('lock', '')}".strip(),
        "versions": ", ".join(f"{name} {packages[name]}" for name in MAIN if name in packages),
        "image": said(stack["image"]) if stack.get("image") else "",
        "commit": str(commit)[:12] if commit else "", "job": record.job or "", "row of the plan": record.curriculum,
        **{name: said(value) for name, value in record.machine.items() if value not in (None, [], "")},
        "further hosts": ", ".join(str(other.get("hostname", "")) for other in record.others),
    }  # fmt: skip
    return {name: text for name, text in found.items() if text}


def answers(folder: Path, record: RunRecord) -> dict[str, Any]:
    """The first questions, and what each step answered: before and after a training side by side."""
    by_step: dict[str, dict[str, Answer]] = {}
    for step in record.steps:
        out = folder / step.step
        with contextlib.suppress(Exception):  # they show, they don't judge
            size = sum(f.stat().st_size for pattern in ("*.jsonl", "reviews/*/*.jsonl") for f in out.glob(pattern))
            if size < LARGEST and (found := answers_in(out)):
                by_step[step.step] = {answer.question: answer for answer in found}
    questions = list(dict.fromkeys(question for found in by_step.values() for question in found))
    rows = []
    for question in questions[:QUESTIONS]:
        cells = [found.get(question) for found in by_step.values()]
        wanted = next((cell.wanted for cell in cells if cell and cell.wanted is not None), None)
        short = [cell and {"answer": cut(cell.answer), "right": cell.right} for cell in cells]
        rows.append({"question": cut(question), "wanted": wanted and cut(wanted), "cells": short})
    known = any(row["wanted"] is not None for row in rows)
    return {"rows": redact.deep(rows), "steps": list(by_step), "wanted": known, "questions": len(questions)}


def cut(text: str) -> str:
    """No more of a text than one reads."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text)} letters)"


def logs(folder: Path, record: RunRecord) -> Iterator[dict[str, Any]]:
    """The last lines of each step's log, of a step that failed first."""
    for step in sorted(record.steps, key=lambda s: s.state == "done"):
        file = folder / step.log
        if step.log and file.is_file():
            lines = [cut(redact.text(Text.from_ansi(line).plain)) for line in tail(file, LINES)]
            size = f"{file.stat().st_size / 1024:,.0f} KiB"
            yield {"name": step.log, "size": size, "failed": step.state != "done", "text": "\n".join(lines)}
