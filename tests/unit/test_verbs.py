"""The verbs: what bare `inv` prints, options that reach the functions behind them, and a start that stays quick."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from gpulab.common.outcome import Outcome
from gpulab.common.paths import ROOT
from gpulab.verbs.help_page import help_page
from gpulab.verbs.options import HOSTS, Option, number, repeated
from gpulab.verbs.verb import COMMON, verb

VERBS = [task for group in tasks.GROUPS.values() for task in group]
MODULES = sorted((ROOT / "gpulab/verbs").glob("*.py"))


def calls() -> list[tuple[str, str, str]]:
    """(verb, module, function) of every verb that hands its options on as they are."""
    found = []
    for path in MODULES:
        for body in ast.parse(path.read_text()).body:
            if not isinstance(body, ast.FunctionDef) or not isinstance(body.body[-1], ast.Return):
                continue
            call = body.body[-1].value
            if isinstance(call, ast.Call) and any(k.arg is None for k in call.keywords):
                imported = next(s for s in body.body if isinstance(s, ast.ImportFrom))
                found.append((body.name.replace("_", "-"), imported.module or "", getattr(call.func, "id", "")))
    return found


@pytest.mark.parametrize(("name", "module", "function"), calls())
def test_a_verbs_options_are_those_of_the_function_behind_it(name, module, function):
    task = next(t for t in VERBS if t.name == name)
    taken = inspect.signature(getattr(import_module(module), function)).parameters.values()
    given = {option.to or option.name for option in task.options}
    assert given <= {p.name for p in taken}
    assert {p.name for p in taken if p.default is p.empty} <= given


def test_most_verbs_are_seen_by_the_test_above():
    assert len(calls()) > 20


def test_an_inventory_is_asked_for_before_the_verb_imports_what_it_needs(monkeypatch):
    begun, seen = [], []
    monkeypatch.setattr("gpulab.hosts.inventory.begin", begun.append)

    def body(hosts):
        seen.append([*begun])
        return Outcome()

    for hosts in ("gpus.ini", ""):
        verb(HOSTS)(body)(Context(), hosts=hosts, json=False, debug=False)
    assert seen == [["gpus.ini"], ["gpus.ini"]]


def test_an_option_reaches_the_body_under_its_parameters_name():
    seen = {}

    def body(**options):
        seen.update(options)
        raise KeyboardInterrupt

    made = verb(repeated("set", "a flag", to="settings"), Option("hub", "where from", default="hf"))(body)
    with pytest.raises(Exit) as ended:
        made(Context(), set=["a=1"], hub="x", json=False, debug=False)
    assert ended.value.code == 130
    assert seen == {"settings": ["a=1"], "hub": "x"}


def test_every_verb_is_in_one_group():
    names = [task.name for task in VERBS]
    assert len(names) == len(set(names))
    assert set(Collection.from_module(tasks).task_names) == set(names)


def inv(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "inv", *words], capture_output=True, text=True, check=False)


def test_bare_inv_prints_the_verbs_by_what_one_wants_to_do_in_80_columns():
    done = inv()
    assert done.returncode == 0, done.stderr
    titles = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")][:-1]
    assert titles == ["start", "labs", "reports", "work", "serving", "hosts", "images", "develop"]
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    for task in VERBS:
        assert f"  {task.name} " in done.stdout


@pytest.mark.parametrize("words", [["--list"], ["--help"], ["--help", "lab"], ["--list", "--list-format", "json"]])
def test_listings_of_the_verbs_work(words):
    done = inv(*words)
    assert done.returncode == 0, done.stderr
    assert "lab" in done.stdout


@pytest.mark.parametrize("words", [["resume", "--help"], ["lab", "quickstart", "--help"], ["provision", "--help"]])
def test_a_verbs_help_is_shown_wherever_it_is_asked_for(words):
    done = inv(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"./inv {words[0]} ")


@pytest.mark.parametrize("task", VERBS, ids=lambda task: task.name)
def test_a_verbs_help_fits_80_columns_and_shows_what_is_given_by_its_place(task, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    usage, *told = help_page(task, [*task.options, *COMMON]).splitlines()
    places = [f" {option.name.upper()}" for option in task.options if option.default is None]
    assert usage.startswith(f"./inv {task.name}{''.join(places)}")
    assert [line for line in told if len(line) > 80] == []


def test_a_verbs_help_says_defaults_and_what_may_be_given_again(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    options = [number("jobs", "how many", default=1), repeated("set", "a=b"), Option("like", "a lab", default="tiny")]
    rows = help_page(verb(*options)(lambda **_: None), options).splitlines()[-3:]
    assert [" ".join(row.split()) for row in rows] == [
        "--jobs N how many; usual is 1", "--set SET a=b; may be given again", "--like LIKE a lab; usual is tiny",
    ]  # fmt: skip


@pytest.mark.parametrize("task", VERBS[::10], ids=lambda task: task.name)
def test_a_verbs_help_explains_each_of_its_options(task):
    done = inv("--help", task.name)
    told = " ".join(done.stdout.split())
    assert [option.name for option in task.options if " ".join(option.help.split())[:20] not in told] == []


def test_plain_invoke_finds_the_verbs():
    invoke = Path(sys.executable).parent / "invoke"
    done = subprocess.run([invoke, "--list"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "fingerprint" in done.stdout, done.stderr


def test_listing_the_verbs_loads_nothing_behind_them():
    code = "import sys, tasks; print([m for m in ('pydantic', 'rich', 'psutil', 'gpulab.lab') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
