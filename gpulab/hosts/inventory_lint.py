"""Mistakes in an inventory, each with file, line and cure.

Ansible reads the data; this finds the line that its messages leave out, and what it takes silently: names written
wrong, one host given twice, addresses that no resolver knows.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpulab.common import redact
from gpulab.common.diagnosis import find
from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.paths import shown
from gpulab.hosts.inventory_variables import mistakes
from gpulab.hosts.ssh_route import route

if TYPE_CHECKING:
    from gpulab.hosts.inventory import Host

GROUPS = ["gpu", "login", "controller", "storage"]


class Line(NamedTuple):
    """One line of an INI inventory that says something."""

    number: int
    section: str
    text: str


def is_ini(path: Path) -> bool:
    """Whether Ansible would read it as INI: a plain file without the ending of another format, and no program."""
    return path.is_file() and path.suffix in ("", ".ini", ".cfg", ".example") and not path.stat().st_mode & 0o100


def lines_of(path: Path) -> Iterator[Line]:
    """The lines with their section; none for an inventory that is not INI."""
    if not is_ini(path):
        return
    section = ""
    for number, raw in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        text = raw.strip()
        if text.startswith("["):
            section = text.partition("]")[0].lstrip("[").strip()
        if text and text[0] not in "#;":
            yield Line(number, section, text)


def place(path: Path, pattern: str, section: str | None = None) -> str:
    """`file:line` of the first line that matches, or just the file."""
    for line in lines_of(path):
        if (section is None or line.section == section) and re.search(pattern, line.text):
            return f"{shown(path)}:{line.number}"
    return shown(path)


def explain(path: Path, stderr: str) -> UsageError:
    """What Ansible said of an inventory it can't read, as one line with its place, and a cure."""
    told = re.sub(r"(?<=\S)\n(?!ERROR!|\[|Origin:)(?=\S)", " ", stderr)  # older releases break their lines anywhere
    found = find(told, "inventory")
    if found:
        known, parts = found
        section = f"{parts['a']}:children" if ":children" in known.pattern else None
        escaped = {name: re.escape(text) for name, text in parts.items()}
        where = place(path, known.line.format(**escaped) if parts else known.line, section)
        groups = {line.section for line in lines_of(path) if ":" not in line.section and line.section}
        cure = known.cure or nearest(parts["b"], sorted(groups or GROUPS))
        return UsageError(f"{where}: {known.message.format(**parts)}", cure)
    last = re.findall(r"(?:WARNING\]|ERROR\]): ([^\n]+)", stderr) or [stderr.strip() or "ansible-inventory failed"]
    return UsageError(f"{shown(path)}: {last[0]}", "compare it with inventory.example")


@contextmanager
def telling_no_secret(path: Path) -> Iterator[None]:
    """Takes an inventory's secrets out of what is said of it: all that stands behind a secret variable in a line."""
    try:
        yield
    except UsageError as error:
        told = [Failure(_without_secrets(path, f.message), _without_secrets(path, f.cure)) for f in error.failures]
        raise UsageError.of_all(told) from None


def _without_secrets(path: Path, message: str) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    told = [line for line in lines if line.strip()[:1] not in ("#", ";")]
    name = r"(?<![\w-])([\w-]{1,100})[\"']?(?:\s*[=:]\s*|\s+)"
    rests = [line[m.end() :].strip() for line in told for m in re.finditer(name, line) if redact.is_secret(m[1])]
    secrets = {form for rest in rests for form in (rest, rest.strip("\"'"), *rest.split()) if len(form) > 2}
    whole = sorted(map(re.escape, secrets), key=len, reverse=True)
    if whole:
        message = re.sub(rf"(?<![\w.])(?:{'|'.join(whole)})(?![\w.])", redact.BLANK, message)
    return message


def refuse(path: Path, hosts: list[Host], groups: list[str], *, resolve: bool = True) -> None:
    """Raise UsageError for what Ansible takes silently and that can't be meant: all variables' mistakes at once."""
    for group in groups:
        close = get_close_matches(group, GROUPS, n=1, cutoff=0.8)
        if close and group not in GROUPS:
            where = place(path, rf"^\[\s*{re.escape(group)}\s*[\]:]")
            raise UsageError(f"{where}: no role knows the group [{group}]", f"did you mean [{close[0]}]?")
    wrong = list(mistakes(path, hosts, lambda name: place(path, rf"(^|\s){re.escape(name)}\s*=")))
    if wrong:
        raise UsageError.of_all(wrong)
    _twice(path)
    _same_address(path, hosts)
    for host in hosts:
        port = str(host.variables.get("ansible_port", 22))
        if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            where = place(path, r"ansible_port")
            raise UsageError(f"{where}: ansible_port={port[:40]} is no number from 1 to 65535", "ansible_port=22")
    if resolve:
        _unresolvable(path, hosts)


def _twice(path: Path) -> None:
    """A host that stands twice in one group, or is given two values of one variable: the last would win unseen."""
    seen: dict[tuple[str, str], int] = {}
    values: dict[tuple[str, str], tuple[str, int]] = {}
    for line in lines_of(path):
        if line.text.startswith("[") or ":" in line.section:
            continue
        name, *given = shlex.split(line.text, comments=True)
        first = seen.setdefault((line.section, name), line.number)
        if first != line.number:
            raise UsageError(f"{shown(path)}:{line.number}: {name} stands here and on line {first}", "keep one")
        for variable, _, value in (pair.partition("=") for pair in given):
            before, number = values.setdefault((name, variable), (value, line.number))
            if before != value:
                told = f"{variable}={value} here and {before}"
                if redact.is_secret(variable):
                    told = f"one {variable} here and another"
                raise UsageError(
                    f"{shown(path)}:{line.number}: {name} has {told} on line {number}",
                    "keep one; in further groups the name alone is enough",
                )


def _same_address(path: Path, hosts: list[Host]) -> None:
    """Two names for one sshd: each change would be made twice, at once."""
    owners: dict[tuple[str, str, str], str] = {}
    for host in hosts:
        if host.local:
            continue
        way = "".join(str(host.variables.get(f"ansible_ssh_{part}_args", "")) for part in ("common", "extra"))
        first = owners.setdefault((host.address, str(host.variables.get("ansible_port", 22)), way), host.name)
        if first != host.name:
            where = place(path, rf"^{re.escape(host.name)}(\s|$)")
            raise UsageError(f"{where}: {host.name} and {first} have the same address {host.address}", "correct one")


def _unresolvable(path: Path, hosts: list[Host]) -> None:
    """An address that neither a resolver nor ssh's configuration knows, all asked at once."""
    remote = [host for host in hosts if not host.local and not _is_template(host.address)]
    with ThreadPoolExecutor(max_workers=16) as pool:
        asked = [pool.submit(_is_known, host) for host in remote]
        for host, answer in zip(remote, asked, strict=True):
            if answer.result():
                continue
            pool.shutdown(wait=False, cancel_futures=True)  # a dead name server takes seconds for each of a thousand
            where = place(path, rf"^{re.escape(host.name)}(\s|$)", None)
            if host.address == host.name:
                raise UsageError(f"{where}: {host.name} has no address: its name does not resolve",
                                 f"{host.name} ansible_host=10.0.0.11")  # fmt: skip
            raise UsageError(f"{where}: {host.name}: {host.address!r} is no address and does not resolve",
                             "correct ansible_host, or the name server")  # fmt: skip


def _is_template(address: str) -> bool:
    return "{{" in address


def _is_known(host: Host) -> bool:
    """Whether this machine can resolve it, or ssh has another name or a jump host for it, who resolves it there."""
    if _resolves(host.address):
        return True
    way = route(host)
    return way.proxied or (way.address != host.address.lower() and _resolves(way.address))


def _resolves(address: str) -> bool:
    try:
        socket.getaddrinfo(address, 22, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return True
