"""What Ansible said of an inventory, kept until one of the files changes that it read: each verb on hosts asks, and
Ansible takes longer to start than most of them to answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpulab.common import redact
from gpulab.common.files import write_atomically
from gpulab.common.paths import CACHE, ROOT
from gpulab.hosts.ansible import CONFIG
from gpulab.hosts.inventory_lint import is_ini
from gpulab.hosts.inventory_variables import SEALED, files_beside

FOLDER = CACHE / "inventories"
AT_MOST = 100


def kept(path: Path, env: Mapping[str, str], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of `ask`, or what it was for the same files. One with a secret in it is not kept."""
    known = key(path, env)
    file = FOLDER / f"{known}.json"
    if known:
        with suppress(OSError, ValueError):
            before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return before
    listed = ask()
    if known and not any(redact.is_secret(name) for name in names(listed)):
        with suppress(OSError):  # a checkout that can't be written to
            keep(file, listed)
    return listed


def key(path: Path, env: Mapping[str, str]) -> str:
    """A digest of all that the answer is made of; nothing where that can't be told: a program, a plugin's file, a
    vault, a folder that is elsewhere."""
    inside = [p for kind in ("group_vars", "host_vars") for p in (path.parent / kind).rglob("*")]
    if not is_ini(path) or any(p.is_symlink() for p in inside):
        return ""
    digest = hashlib.sha256(version("ansible-core").encode())
    for name, value in sorted(env.items()):
        if name.startswith("ANSIBLE_"):
            digest.update(f"{name}={value}\0".encode())
    for file in (CONFIG, path, *files_beside(path), *files_beside(ROOT / path.name)):
        content = file.read_bytes()
        if SEALED.encode() in content or b"!vault" in content:
            return ""
        beside = file.relative_to(path.parent) if file.is_relative_to(path.parent) else file
        # The inventory itself may have any name: Ansible's answer is the same.
        digest.update(f"{'' if file == path else beside}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def names(value: object) -> Iterator[str]:
    """The names of all variables, at any depth."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from (str(name) for name in value) if isinstance(value, dict) else ()
    for one in inside:
        yield from names(one)


def keep(file: Path, listed: dict[str, Any]) -> None:
    """Write it down, for nobody else to read; the oldest go."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(listed), mode=0o600)
    for old in sorted(FOLDER.glob("*.json"), key=lambda f: f.stat().st_mtime)[:-AT_MOST]:
        old.unlink(missing_ok=True)
