"""lab.yaml written by the unlucky and the hostile: each mistake is one line with its place, at once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.lab.lab import load_lab
from tests.unit.conftest import LAB

GOOD = """\
title: A lab of the tests
upstream: examples/none
curriculum: none
stack: cpu
model: Org/Tiny-1B
needs: {nodes: 1, gpus: 1, vram_gib: 8, disk_gib: 2, minutes: 10}
steps:
  train:
    run: swift sft train.yaml --model {model}
    makes: [logging.jsonl]
    proves: [loss falls]
    env: {A: b}
    processes: 1
    spread: true
    gpus: 0
  chat:
    run: swift infer --temperature 0
    ready: {chat: tiny, within: 5}
compare: [train]
rehearse:
  twin: qwen3
  speaks: train.yaml
  train: {max_steps: 3, env: {C: d}}
"""

# Values of a wrong type, by the field's line: what stands there, and what is written in its place.
TEXT = ("~", "[a]", "{a: b}", "2024-01-31", "7", "1.5", "true", "!!binary aGk=", "!!set {a, b}")
NUMBER = ("~", "[1]", "{a: 1}", "2024-01-31", "many", "-1", ".nan", ".inf", "1" * 25, "1" * 5000, "'\\0'")
LIST = ("~", "word", "{a: b}", "7", "[~]", "[[a]]", "[1]")
MAPPING = ("~", "word", "[a]", "7", "2024-01-31")
FIELDS = {
    "title: A lab of the tests": TEXT, "upstream: examples/none": TEXT, "curriculum: none": TEXT, "stack: cpu": TEXT,
    "model: Org/Tiny-1B": TEXT[1:], "run: swift sft train.yaml --model {model}": TEXT, "chat: tiny": TEXT,
    "twin: qwen3": TEXT[1:], "speaks: train.yaml": (*TEXT[1:], "'no/such.jsonl'", ".", "''", "'a\\0b'"),
    "nodes: 1": (*NUMBER, "0", "1.5"), "gpus: 1": NUMBER, "vram_gib: 8": NUMBER, "disk_gib: 2": NUMBER,
    "minutes: 10": (*NUMBER, "0"), "processes: 1": (*NUMBER[1:], "0"), "within: 5": NUMBER, "gpus: 0": NUMBER,
    "spread: true": ("~", "[true]", "maybe", "2", "2024-01-31"),
    "makes: [logging.jsonl]": (*LIST, "['']", "[/etc/passwd]", "['a**']", "[../../x]", "[.]"),
    "proves: [loss falls]": (*LIST, "['exact match at least 1.2.3%']", "['exact match at least .%']"),
    "compare: [train]": LIST,
    "env: {A: b}": (*MAPPING, "{A: 1}", "{A: ~}", "{A: [b]}", "{1: b}"), "env: {C: d}": (*MAPPING, "{C: 1}"),
    "ready: {chat: tiny, within: 5}": MAPPING[1:],
    "train: {max_steps: 3, env: {C: d}}": (*MAPPING, "{1: 2}", "{~: 2}", "{impossible: 3}", "{impossible: [a]}"),
    "needs: {nodes: 1, gpus: 1, vram_gib: 8, disk_gib: 2, minutes: 10}": MAPPING,
}  # fmt: skip
WRONG_TYPES = [
    (old, f"{old.partition(':')[0]}: {bad}", GOOD[: GOOD.index(old)].count("\n") + 1)
    for old, values in FIELDS.items() for bad in values
]  # fmt: skip


def one_line(error: UsageError) -> str:
    """The message, which fits in a line and can be printed anywhere a terminal is."""
    for said in (error.message, error.cure):
        assert len(said.splitlines()) <= 1, said
        assert said.isprintable(), said
        assert len(said) < 400, said
    return error.message


@pytest.mark.parametrize(("old", "new", "line"), WRONG_TYPES, ids=[f"{n[:40]}" for _, n, _ in WRONG_TYPES])
def test_a_value_of_a_wrong_type_is_named_with_its_line(write_lab, old, new, line):
    with pytest.raises(UsageError) as caught:
        load_lab(write_lab((old, new), text=GOOD))
    assert f"lab.yaml:{line}: " in one_line(caught.value), caught.value.message


def aliases(depth: int) -> str:
    """A few lines that stand for 10**depth values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines) + "\n"


CHAIN = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
MERGES = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))

# What the file holds, the line that is named (None: the file alone), words of the message.
FILES: dict[str, tuple[bytes, int | None, str]] = {
    "empty": (b"", 1, "'title' is missing"),
    "only a comment": (b"# nothing\n", 1, "'title' is missing"),
    "null": (b"~\n", 1, "not a mapping"),
    "a word": (b"word\n", 1, "not a mapping"),
    "a list": (b"- a\n- b\n", 1, "not a mapping"),
    "a number": (b"7\n", 1, "not a mapping"),
    "a date": (b"2024-01-31\n", 1, "not a mapping"),
    "two documents": (b"a: b\n---\nc: d\n", 2, "but found another document"),
    "no value after a quote": (b"title: 'open\nstack: cpu\n", 3, "end of stream"),
    "an open bracket": (b"title: x\nneeds: {gpus: 1\nstack: cpu\n", 3, "did not find expected"),
    "a colon too many": (b"title: a: b\n", 1, "mapping values are not allowed"),
    "bad indentation": (b"a: 1\n  b: 2\n", 2, "mapping values are not allowed"),
    "a tab": (b"needs:\n\tgpus: 1\n", 2, "a tab"),
    "a key twice": (b"title: a\nstack: cpu\ntitle: b\n", 3, "'title' stands here and on line 1"),
    "a key twice inside": (b"title: a\nneeds:\n  gpus: 1\n  gpus: 2\n", 4, "'gpus' stands here and on line 3"),
    "a key twice in a list": (b"a: 1\nb:\n- {c: 1, c: 2}\n", 3, "'c' stands here and on line 3"),
    "a number as key": (b"title: a\n1: b\n", 2, "reads as int"),
    "a boolean as key": (b"title: a\non: b\n", 2, "reads as bool"),
    "null as key": (b"title: a\n~: b\n", 2, "reads as null"),
    "a date as key": (b"title: a\n2024-01-31: b\n", 2, "reads as timestamp"),
    "a list as key": (b"title: a\n? [a, b]\n: c\n", 2, "a key is a list"),
    "a mapping as key": (b"title: a\n{a: b}: c\n", 2, "a key is a list or a mapping"),
    "a placeholder not in quotes": (b"title: {model}: x\n", 1, "mapping values are not allowed"),
    "a line break in a key": (b'title: a\n"b\\nc": d\n', 2, "line break"),
    "an unknown tag": (b"title: !mine a\n", 1, "tag"),
    "Python's tag": (b"title: a\nx: !!python/object/apply:os.system [id]\n", 2, "tag"),
    "Python's name": (b"title: !!python/name:os.system\n", 1, "tag"),
    "a tag that its value is none of": (b"a: 1\ntitle: !!int two\n", 2, "invalid literal"),
    "an empty integer": (b"a: !!int ''\n", 1, "index out of range"),
    "no boolean": (b"a: !!bool maybe\n", 1, "'maybe'"),
    "no timestamp": (b"a: !!timestamp maybe\n", 1, ""),
    "no base64": (b"a: !!binary \xc3\xa4\n", 1, "'!!binary'"),
    "a date that is none": (b"a: 1\nb: 2024-02-30\n", 2, "day"),
    "a month that is none": (b"a: 1\nb: 2024-13-01\n", 2, "month must be"),
    "a number of 5000 digits": (b"a: 1\nb: " + b"7" * 5000 + b"\n", 2, "4300 digits"),
    "a mapping tagged as a list": (b"a: !!seq {b: c}\n", 1, "expected a sequence"),
    "an alias of nothing": (b"a: 1\nb: *c\n", 2, "undefined alias"),
    "an alias of itself": (b"a: 1\nb: &b [*b]\n", 2, "contains itself"),
    "an alias of itself, deeper": (b"a: 1\nb: &b {c: {d: *b}}\n", 2, "contains itself"),
    "a merge of no mapping": (b"a: 1\nb: {<<: 3}\n", 2, "expected a mapping"),
    "a merge of itself": (b"a: &a\n  <<: *a\n", 1, "contains itself"),
    "aliases of aliases": (aliases(9).encode(), 5, "values, aliases unfolded"),
    "merges of merges": (MERGES.encode(), None, "values, aliases unfolded"),
    "a chain of aliases": (CHAIN.encode(), None, "nested deeper"),
    "deep brackets": (b"a: " + b"[" * 100_000, 1, "nested deeper"),
    "deep braces": (b"a: " + b"{a: " * 50_000, 1, "nested deeper"),
    "deep dashes": (b"- " * 100_000, 1, "nested deeper"),
    "deep questions": (b"? " * 100_000, 1, "nested deeper"),
    "deep indentation": (b"".join(b" " * n + b"a:\n" for n in range(400)), 33, "nested deeper"),
    "NUL": (b"title: a\nstack: \0\n", 2, r"control character '\x00'"),
    "NUL, escaped": (b'title: a\nstack: "a\\0b"\n', 2, r"control character '\x00'"),
    "an escape sequence": (b"title: a\nstack: \x1b[2J\n", 2, r"control character '\x1b'"),
    "an escape sequence, escaped": (b'title: a\nstack: "\\e[2J"\n', 2, r"control character '\x1b'"),
    "a form feed": (b"title: a\n\x0cstack: cpu\n", 2, r"control character '\x0c'"),
    "half a character": (b'title: "\\ud800"\n', 1, "invalid Unicode character"),
    "an unknown escape": (b'title: "\\q"\n', 1, "unknown escape"),
    "Latin-1": ("title: a\nstack: é\n".encode("latin-1"), 2, "not UTF-8"),
    "UTF-16": (LAB.encode("utf-16"), 1, "not UTF-8"),
    "UTF-32": (LAB.encode("utf-32"), 1, "not UTF-8"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", 1, "not UTF-8"),
    "a program": (b"\x7fELF\2\1\1\0\0\0", 1, "control character"),
    "noise": (bytes(range(256)) * 8, 2, "not UTF-8"),
    "a directive": (b"%YAML 9.9\n---\na: b\n", 1, "incompatible YAML document"),
    "JSON that is cut off": (b'{"title": "a",\n"stack"', 3, "did not find expected"),
    "XML": (b"<lab><title>a</title></lab>\n", 1, "not a mapping"),
    "too large": (b"# " + b"x" * (1 << 20), None, "larger than 256 KiB"),
    "too many values": (b"a: [" + b"1," * 30_000 + b"]\n", 1, "more than 20000 values"),
    "a merge conflict": (b"title: a\n<<<<<<< HEAD\nstack: cpu\n=======\n", 3, "could not find expected ':'"),
    "a backquote": (b"title: a\nstack: `cpu`\n", 2, "cannot start with `"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_malformed_file_is_named_with_its_line_at_once(write_lab, case):
    text, line, words = FILES[case]
    folder = write_lab()
    (folder / "lab.yaml").write_bytes(text)
    began = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_lab(folder)
    assert time.process_time() - began < 3, "one lab of many: they are all read before each verb"
    message = one_line(caught.value)
    assert (f"lab.yaml:{line}: " if line else "lab.yaml:") in message, message
    assert words in message
    assert caught.value.cure


def test_a_byte_order_mark_is_no_mistake(write_lab):
    folder = write_lab()
    (folder / "lab.yaml").write_bytes(b"\xef\xbb\xbf" + LAB.encode())
    assert load_lab(folder).title == "A lab of the tests"


def test_an_alias_or_two_are_no_mistake(write_lab):
    lab = load_lab(write_lab(("env: {A: b}", "env: &env {A: b}"), ("env: {C: d}", "env: *env"), text=GOOD))
    assert lab.rehearse.of("train").env == {"A": "b"}


@pytest.mark.parametrize(
    "content", [b"- a\n", b"word\n", b"1: 2\n", b"[" * 99999, b"a: !!python/none\n", b"\xff", b"\0"]
)
def test_a_malformed_ms_swift_yaml_is_named_too(write_lab, content):
    folder = write_lab()
    (folder / "train.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=r"train\.yaml:1: ") as caught:
        load_lab(folder)
    one_line(caught.value)


def refused_place(folder: Path, kind: str) -> None:
    """Put something that is no readable file where lab.yaml was."""
    file = folder / "lab.yaml"
    file.unlink()
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    elif kind == "a link to itself":
        file.symlink_to(file)
    elif kind == "a link to nothing":
        file.symlink_to(folder / "nothing")


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "endless", "a link to itself", "a link to nothing", "nothing"])
def test_what_is_no_file_is_said(write_lab, kind):
    folder = write_lab()
    refused_place(folder, kind)
    with pytest.raises(UsageError, match=r"lab\.yaml") as caught:
        load_lab(folder)
    one_line(caught.value)
    assert caught.value.cure


def test_bad_labs_do_not_stop_the_others_from_being_listed(write_lab, tmp_path):
    write_lab(name="start/good")
    bad = ["deep brackets", "aliases of aliases", "NUL", "a list as key", "Latin-1", "a date that is none", "too large"]
    for number, case in enumerate(bad):
        (write_lab(name=f"start/bad{number}") / "lab.yaml").write_bytes(FILES[case][0])
    refused_place(write_lab(name="start/folder"), "a folder")
    done = subprocess.run(
        [sys.executable, "-m", "tests.testbed.inv_on_labs", tmp_path / "labs", "labs", "--json"],
        cwd=ROOT, env={**os.environ, "GPULAB_RUNS": str(tmp_path / "runs")}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    for case, failure in itertools.zip_longest([*bad, "folder"], said["failures"]):
        assert "lab.yaml:" in failure, (case, failure)
    assert [row["lab"] for row in said["labs"]] == ["start/good"]
