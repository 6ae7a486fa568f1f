"""Hosts: what `ansible-inventory` understood of --hosts, with every mistake named before any ssh."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import ROOT, shown
from gpulab.hosts import inventory_cache, inventory_lint, inventory_text, inventory_variables
from gpulab.hosts.ansible import environment, program

_begun: dict[Path, Future[dict[str, Any]]] = {}


@dataclass(frozen=True)
class Host:
    """One host of the inventory."""

    name: str
    address: str
    groups: tuple[str, ...] = ()
    variables: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def user(self) -> str:
        """The user to log in as; empty: whatever ssh's own configuration says."""
        return str(self.variables.get("ansible_user", ""))

    @property
    def port(self) -> int:
        """The port of the host's sshd."""
        return int(self.variables.get("ansible_port", 22))

    @property
    def local(self) -> bool:
        """Whether it is this machine, reached without ssh."""
        return self.variables.get("ansible_connection") == "local"


def inventory_path(hosts: str) -> Path:
    """The inventory named by --hosts, absolute. Raises UsageError with the cure where there is none."""
    if not hosts:
        raise UsageError("this verb needs an inventory", "--hosts gpus.ini (first: cp inventory.example gpus.ini)")
    path = Path(hosts).absolute()
    if not path.exists():
        example = shown(ROOT / "inventory.example")
        raise UsageError(f"{hosts}: no such inventory", f"cp {example} {hosts}, then edit it")
    if path.is_dir():
        raise UsageError(f"{hosts}: a folder, not an inventory", f"name the file in it: --hosts {path / 'gpus.ini'}")
    return path


def load_hosts(hosts: str, limit: str = "", *, resolve: bool = True) -> list[Host]:
    """The hosts of the inventory in its order; `limit` keeps those whose name or group it lists (`gpu1,storage`).
    Without `resolve` no name server is asked: hosts that one does not have yet can be planned for.

    Raises UsageError with file, line and cure for the first mistake.
    """
    path = inventory_path(hosts)
    with inventory_lint.telling_no_secret(path):
        return only(_checked(path, resolve=resolve), limit)


def begin(hosts: str) -> None:
    """Have Ansible asked beside what else there is to do: the next `load_hosts` takes up its answer, or says what is
    wrong."""
    with suppress(UsageError):
        path = inventory_path(hosts)
        _begun[path] = ThreadPoolExecutor(1).submit(ansible_inventory, path)


def _checked(path: Path, *, resolve: bool) -> list[Host]:
    listed = _begun.pop(path).result() if path in _begun else ansible_inventory(path)
    variables: dict[str, dict[str, Any]] = listed["_meta"]["hostvars"]
    groups = {name: members(listed, name) for name in listed if name != "_meta"}
    inside = {name: set(group) for name, group in groups.items() if name not in ("all", "ungrouped")}
    found = [
        Host(
            name=name,
            address=str(variables.get(name, {}).get("ansible_host", name)),
            groups=tuple(group for group, names in inside.items() if name in names),
            variables=variables.get(name, {}),
        )
        for name in dict.fromkeys(groups.get("all", []))
    ]
    if not found:
        raise UsageError(f"{shown(path)}: no host in it", "write one below a group: gpu1 ansible_host=10.0.0.11")
    inventory_lint.refuse(path, found, list(groups), resolve=resolve)
    return found


def only(hosts: list[Host], limit: str) -> list[Host]:
    """The hosts that `limit` names, by name or group. Raises UsageError for a word that is neither."""
    if not limit:
        return hosts
    kept: list[str] = []
    for word in limit.split(","):
        hit = [h.name for h in hosts if word in (h.name, "all", *h.groups)]
        if not hit:
            known = sorted({h.name for h in hosts} | {g for h in hosts for g in h.groups})
            raise UsageError(f"--limit {word}: neither a host nor a group of the inventory", nearest(word, known))
        kept += hit
    return [h for h in hosts if h.name in kept]


def members(listed: dict[str, Any], group: str) -> list[str]:
    """The hosts of a group and of the groups in it, each once, in the inventory's order."""
    inside = listed.get(group, {})
    nested = [name for child in inside.get("children", []) for name in members(listed, child)]
    return list(dict.fromkeys([*inside.get("hosts", []), *nested]))


def ansible_inventory(path: Path) -> dict[str, Any]:
    """What `ansible-inventory --list` says. Raises UsageError where Ansible can't read it."""
    # A part that no plugin understands is an error, not a warning about an empty inventory.
    strict = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_VERBOSITY": "0"}
    ini = inventory_lint.is_ini(path)
    if ini or (path.is_file() and path.suffix in (".yml", ".yaml", ".json")):
        inventory_text.check(path, ini=ini)
    inventory_variables.refuse_broken(path)
    if ini:
        strict["ANSIBLE_INVENTORY_ENABLED"] = "ini"  # its messages, not those of every plugin in turn
    env = {**environment(), **strict}

    def ask() -> dict[str, Any]:
        done = subprocess.run(
            [program("ansible-inventory"), "-i", str(path), "--list"],
            cwd=ROOT, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise inventory_lint.explain(path, done.stderr)
        listed: dict[str, Any] = json.loads(done.stdout)
        return listed

    return inventory_cache.kept(path, env, ask)
