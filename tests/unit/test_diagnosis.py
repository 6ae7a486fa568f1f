"""Known failures: every entry of every table is found by what a program really said; what is told is one Failure."""

from __future__ import annotations

import json

import pytest

from gpulab.common.console import console
from gpulab.common.diagnosis import TABLES, Known, diagnose, find, known_failures, last_line
from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.verbs.verb import carry_out


@pytest.fixture(autouse=True)
def _console(monkeypatch: pytest.MonkeyPatch) -> None:
    """--json sends the console's talk to standard error: that ends with the test."""
    monkeypatch.setattr(console, "_file", None)


NAMES = dict.fromkeys(("at", "registry", "tag", "name", "address", "port", "user", "hosts"), "X")
ENTRIES = [(table.stem, known) for table in sorted(TABLES.glob("*.yml")) for known in known_failures(table.stem)]


@pytest.mark.parametrize(("table", "known"), ENTRIES, ids=lambda value: getattr(value, "pattern", value)[:30])
def test_each_known_failure_is_found_by_its_example(table: str, known: Known):
    found = find(known.example, table)
    assert found is not None
    assert found[0] == known, "an entry above it takes its example"


@pytest.mark.parametrize("table", sorted({table for table, _ in ENTRIES} - {"inventory"}))
def test_each_names_what_helps(table: str):
    for known in known_failures(table):
        told = diagnose(known.example, table, **NAMES)
        assert told is not None and told.message and told.cure
        assert "{" not in told.message + told.cure


def test_what_no_table_knows_is_told_as_it_was_said():
    assert diagnose("something new\n", "docker", at="here") is None
    assert last_line("a\n\nsomething new\n\n", "nothing") == "something new"
    assert last_line("\n", "nothing") == "nothing"


def test_a_group_of_the_pattern_and_the_callers_names_fill_the_text():
    told = diagnose("Error: No such image: gpulab/train:1", "docker", at="gpu1")
    assert told == Failure(
        "gpu1 has no image gpulab/train:1", "./inv build STACK here, or ./inv pull STACK, or ./inv load FILE"
    )


def test_dockers_hint_at_its_help_is_not_taken_for_the_cause():
    said = "docker: Error response from daemon: it will not.\n\nRun 'docker run --help' for more information\n"
    assert last_line(said, "") == "docker: Error response from daemon: it will not."


def test_a_failure_is_told_in_one_line_or_in_parts():
    failure = Failure("it does not answer", "is it on?", "gpu1")
    assert str(failure) == "gpu1: it does not answer (cure: is it on?)"
    assert failure.line == "gpu1: it does not answer"
    assert str(Failure("broken")) == "broken"


def test_a_verbs_failures_are_told_with_their_cures(capsys):
    outcome = Outcome(failures=[Failure("it does not answer", "is it on?", "gpu1"), "something else"])
    assert carry_out(lambda: outcome, as_json=False, debug=False) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: gpu1: it does not answer", "  cure: is it on?", "error: something else",
    ]  # fmt: skip


@pytest.mark.parametrize(("columns", "widest"), [("80", 80), ("140", 100)])
def test_in_a_terminal_a_long_failure_breaks_between_words_and_its_cure_stays_whole_to_be_copied(
    columns, widest, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)
    words, cure = (
        " ".join(f"word-{n}" for n in range(40)),
        "./inv provision " + " ".join(f"--set v{n}" for n in range(40)),
    )
    carry_out(lambda: Outcome(failures=[Failure(words, cure)]), as_json=False, debug=False)
    *message, last = capsys.readouterr().err.splitlines()
    assert last == f"  cure: {cure}"
    assert widest - 8 < max(map(len, message)) <= widest
    assert " ".join(line.strip() for line in message) == f"error: {words}"
    assert all(line.startswith("       word-") for line in message[1:])


def test_json_has_a_line_and_the_parts_of_each_failure(capsys):
    outcome = Outcome(failures=[Failure("it does not answer", "is it on?", "gpu1")])
    carry_out(lambda: outcome, as_json=True, debug=False)
    told = json.loads(capsys.readouterr().out)
    assert told["failures"] == ["gpu1: it does not answer (cure: is it on?)"]
    assert told["details"] == [{"where": "gpu1", "message": "it does not answer", "cure": "is it on?"}]


def test_a_usage_error_carries_a_failure(capsys):
    def body() -> Outcome:
        raise UsageError("no lab 'x'", "./inv labs")

    assert carry_out(body, as_json=True, debug=False) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["details"] == [{"where": "", "message": "no lab 'x'", "cure": "./inv labs"}]
    assert told["failures"] == ["no lab 'x' (cure: ./inv labs)"]


def test_failures_that_the_page_shows_are_counted_and_not_said_again(capsys):
    outcome = Outcome(failures=[Failure("a", "b"), Failure("c", "d")], text="a page", told=True)
    assert carry_out(lambda: outcome, as_json=False, debug=False) == 1
    assert capsys.readouterr().err.splitlines() == ["error: 2 failures, shown above with the cure"]
