"""An inventory's text, before Ansible is asked: what it would take for a part of a name, or expand for minutes."""

from __future__ import annotations

import re
import shlex
from math import prod
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import shown
from gpulab.common.text_files import contents, decoded

MAX_BYTES = 4 << 20
MAX_HOSTS = 10_000
RANGE = re.compile(r"\[(\d+):(\d+)(?::(\d+))?\]", re.ASCII)
ASSIGN = "write it as NAME variable=value, without spaces around ="


def check(path: Path, *, ini: bool) -> None:
    """Raise UsageError with file and line for the first thing wrong with the text in `path`, and what INI forbids."""
    raw = contents(path, MAX_BYTES, "name hosts by ranges: gpu[01:16]")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{shown(path)}:1: it begins with a byte order mark", "save it as UTF-8 without one")
    text = decoded(path, raw)
    if ini:
        _check_lines(path, text)


def _check_lines(path: Path, text: str) -> None:
    section, hosts = "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        where = f"{shown(path)}:{number}"
        if line.startswith("["):
            section = line.partition("]")[0]
        elif ":" not in section:
            try:
                name = next(iter(shlex.split(line, comments=True)), "")
            except ValueError:
                raise UsageError(f"{where}: a quotation is not closed", ASSIGN) from None
            hosts += _expanded(name, where)
            if hosts > MAX_HOSTS:
                raise UsageError(f"{where}: more than {MAX_HOSTS} hosts with this line", "correct the range")
        elif section.endswith(":vars") and re.search(r"""=\s*(["'])(?!.*\1\s*(#.*)?$)""", line):
            raise UsageError(f"{where}: a quotation is not closed", 'write it as name="value"')


def _expanded(name: str, where: str) -> int:
    """How many hosts a name with ranges (`gpu[01:16]`) stands for."""
    counts = []
    for begin, end, step in RANGE.findall(name):
        if max(map(len, (begin, end, step))) > 9 or (step and not step.strip("0")):
            raise UsageError(f"{where}: [{begin[:20]}:{end[:20]}] is no range of hosts", "write it as gpu[01:16]")
        counts.append(len(range(int(begin), int(end) + 1, int(step or 1))))
    return prod(counts)
