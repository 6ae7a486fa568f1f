"""`inv labs`, `inv stacks` and `inv doctor` in 80 columns and in more: no line is longer, no word is broken."""

from __future__ import annotations

import io
import os
import subprocess

import pytest
from rich.console import Console

from gpulab.common.paths import LABS, ROOT
from gpulab.hosts.doctor.examine import table
from gpulab.lab.lab import lab_names, load_lab
from gpulab.stacks.stack import load_stacks
from tests.records import open_run

FINDINGS = [
    {"host": "gpu1", "check": "silent-torch-fallback", "state": "sick", "cure": "pip install flash-linear-attention",
     "evidence": "neither fla nor causal-conv1d is installed, linear attention takes the slow code of torch " * 2},
    {"host": "gpu1", "check": "caches", "state": "note", "cure": "", "evidence": "61.5 GiB, 61.5 GiB, 61.5 GiB"},
    {"host": "gpu2", "check": "shm", "state": "well", "cure": "", "evidence": "23.54 GiB"},
]  # fmt: skip


def said(columns: int, *words: str) -> list[str]:
    """What `inv` prints there, without a colour."""
    env = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    done = subprocess.run([ROOT / "inv", *words], env=env, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    return [line.rstrip() for line in done.stdout.splitlines()]


def seen(columns: int) -> list[str]:
    """The doctor's findings there."""
    file = io.StringIO()
    Console(file=file, width=columns, soft_wrap=True, highlight=False).print(table(FINDINGS))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.usefixtures("runs")
def test_a_lab_is_one_line_of_80_columns():
    lines = said(80, "labs")
    assert [line.split()[0] for line in lines[1:-1]] == lab_names()
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("runs")
def test_a_wide_terminal_shows_the_labs_titles_too():
    lines = said(140, "labs")
    assert max(map(len, lines)) <= 140
    words = {word for line in lines for word in line.split()}
    for name in lab_names():
        assert set(load_lab(LABS / name).title.split()) <= words


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("columns", [80, 140])
def test_one_lab_is_shown_at_length(columns):
    lines = said(columns, "labs", "--lab", "quickstart")
    assert max(map(len, lines)) <= columns
    assert "stack     train" in lines
    assert "more      labs/start/quickstart/README.md" in lines


def test_the_last_run_is_told_with_its_profile_and_day(runs):
    writer = open_run("start-quickstart")
    writer.close("interrupted")
    writer.folder.rename(runs / "start-quickstart" / "20260131T235959Z")
    (line,) = [line for line in said(80, "labs") if line.startswith("start/quickstart")]
    assert line.endswith("interrupted cpu 31 Jan")


@pytest.mark.parametrize("columns", [80, 140])
def test_stacks_break_no_word(columns):
    lines = said(columns, "stacks")
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    for stack in load_stacks().values():
        assert {stack.name, *stack.pins.about.split()} <= words


def test_one_stack_is_shown_with_its_pins():
    lines = said(80, "stacks", "--stack", "megatron")
    assert max(map(len, lines)) <= 80
    assert set(load_stacks()["megatron"].pins.pins) <= {line.split()[-1] for line in lines}


@pytest.mark.parametrize("columns", [80, 140])
def test_the_doctors_findings_break_no_word(columns):
    lines = seen(columns)
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.split()}
    for finding in FINDINGS:
        assert {
            finding["host"],
            f"{finding['check']}:",
            *finding["evidence"].split(),
            *finding["cure"].split(),
        } <= words


def test_a_problem_is_shown_with_its_cure_under_its_host():
    lines = seen(80)
    assert [line.strip() for line in lines if line.startswith("     gpu")] == ["gpu1", "gpu2"]
    assert "     cure: pip install flash-linear-attention" in lines
