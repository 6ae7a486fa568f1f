"""The variables of an inventory, and of the group_vars and host_vars beside it: their names and types, all at once."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gpulab.common import redact
from gpulab.common.failure import Failure
from gpulab.common.paths import ROOT, shown
from gpulab.common.yaml_limits import explained, text_of
from gpulab.common.yamlfile import load

if TYPE_CHECKING:
    from gpulab.hosts.inventory import Host

ROLES = ROOT / "ansible" / "roles"
SPECS = "*/meta/argument_specs.yml"
# Variables that neither Ansible's plugins nor the roles document: of several roles, of tests/hosts, of Ansible itself.
OTHERS = ["gpu", "gpu_count", "gpu_image", "gpu_diagnosis"]
OTHERS += [f"ansible_{name}" for name in ("connection", "become", "become_method", "shell_type", "timeout")]
YES_OR_NO = {"yes", "no", "true", "false", "on", "off", "1", "0", "y", "n", "t", "f"}
SEALED = "$ANSIBLE_VAULT"


@cache
def role_options() -> dict[str, dict[str, Any]]:
    """What the roles say of their variables: type, choices ..."""
    return {
        name: option
        for specs in sorted(ROLES.glob(SPECS))
        for entry in load(specs)["argument_specs"].values()
        for name, option in entry.get("options", {}).items()
    }


@cache
def known_variables() -> tuple[str, ...]:
    """Every variable an inventory may set: those that Ansible's plugins, the roles and the playbooks read."""
    names = [*OTHERS]
    library = Path(str(importlib.util.find_spec("ansible").origin)).parent  # type: ignore[union-attr]  # it is locked
    for part in ("plugins/connection/*.py", "plugins/become/*.py", "plugins/doc_fragments/*.py", "config/base.yml"):
        for path in library.glob(part):
            names += re.findall(r"\bname: (ansible_\w+)", path.read_text(encoding="utf-8"))
    names += role_options()
    for playbook in sorted(ROLES.parent.glob("*.yml")):
        names += re.findall(r"\{\{ (\w+) \| default\(", playbook.read_text(encoding="utf-8"))
    return tuple(dict.fromkeys(names))


def files_beside(inventory: Path) -> list[Path]:
    """The files of group_vars and host_vars, and of an inventory that is a folder the YAML files in it."""
    folder = inventory if inventory.is_dir() else inventory.parent
    found = [p for kind in ("group_vars", "host_vars") for p in sorted((folder / kind).rglob("*")) if p.is_file()]
    found += sorted(p for p in folder.glob("*.y*ml") if p.is_file()) if inventory.is_dir() else []
    return [p for p in found if p.suffix in ("", ".yml", ".yaml", ".json") and not p.name.startswith(".")]


def refuse_broken(inventory: Path) -> None:
    """Raise UsageError with file and line for the first file of variables that is no YAML: Ansible names another."""
    for path in files_beside(inventory):
        text = text_of(path)
        if text.startswith(SEALED):
            continue
        try:
            yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise explained(path, error, text) from None


def mistakes(inventory: Path, hosts: list[Host], place: Callable[[str], str]) -> Iterator[Failure]:
    """Every name that is misspelt and every value of another type than its role's, each once, with its place.

    `place` finds a name's line in the inventory itself.
    """
    seen: set[tuple[str, str]] = set()
    for host in hosts:
        for name, value in host.variables.items():
            if (name, repr(value)) in seen:
                continue
            seen.add((name, repr(value)))
            wrong = _misspelt(name) or _mistyped(name, value)
            if wrong:
                yield Failure(f"{_where(inventory, name, place)}: {wrong[0]}", wrong[1])


def _where(inventory: Path, name: str, place: Callable[[str], str]) -> str:
    written = re.compile(rf"^[\s{{,]*[\"']?{re.escape(name)}[\"']?\s*:")
    own = [inventory] if inventory.is_file() and inventory.suffix in (".yml", ".yaml", ".json") else []
    for path in [*own, *files_beside(inventory)]:
        for number, line in enumerate(text_of(path).splitlines(), start=1):
            if written.match(line):
                return f"{shown(path)}:{number}"
    return place(name)


def _misspelt(name: str) -> tuple[str, str] | None:
    """A role's prefix with an unknown name, the beginning of one with much the same name, or all but a known one."""
    known = known_variables()
    if name in known:
        return None
    prefixes = tuple(f"{role.parent.parent.name}_" for role in ROLES.glob(SPECS))
    begins = tuple(prefix.partition("_")[0] + "_" for prefix in prefixes)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if get_close_matches(name, known, n=1, cutoff=0.8) or name.startswith(prefixes):
        return f"no variable {name}", f"did you mean {near[0]}?" if near else "see the role's defaults/main.yml"
    if name.startswith(begins) and (close := get_close_matches(name, known, n=1, cutoff=0.7)):
        return f"no variable {name}", f"did you mean {close[0]}?"
    return None


def _mistyped(name: str, value: object) -> tuple[str, str] | None:
    """A value that its role could not use, and how it would be right."""
    option = role_options().get(name, {"choices": ["none", "auto", "required"]} if name == "gpu" else {})
    if value is None or _is_left_open(value):
        return None
    told = "a value" if redact.is_secret(name) else f"{name}={str(value)[:40]!r}"
    choices = [str(word) for word in option.get("choices", ())]
    if choices and str(value) not in choices:
        return f"{told} is none of {', '.join(choices)}", f"did you mean {(_near(str(value), choices))}?"
    fits, cure = TYPES.get(str(option.get("type", "")), (lambda _: True, ""))
    return None if fits(value) else (f"{told} is no {WORDS[option['type']]}", cure.format(name=name))


def _near(word: str, choices: list[str]) -> str:
    return (get_close_matches(word, choices, n=1, cutoff=0.3) or choices)[0]


def _is_left_open(value: object) -> bool:
    """Whether only Ansible knows what it will be: a template, or what a vault keeps."""
    return "{{" in str(value) or (isinstance(value, dict) and "__ansible_vault" in value)


def _is_whole(value: object) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"[+-]?\d+", str(value).strip(), re.ASCII) is not None


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return not isinstance(value, bool)


WORDS = {"int": "whole number", "float": "number", "bool": "yes or no", "list": "list", "dict": "mapping",
         "str": "text", "path": "path"}  # fmt: skip
TYPES: dict[str, tuple[Callable[[object], bool], str]] = {
    "int": (_is_whole, "write {name}=4"),
    "float": (_is_number, "write {name}=0.5"),
    "bool": (lambda v: isinstance(v, bool) or str(v).lower() in YES_OR_NO, "write {name}=true or {name}=false"),
    "list": (lambda v: isinstance(v, list), "write {name}=['one', 'two'], or a YAML list in group_vars/"),
    "dict": (lambda v: isinstance(v, dict), "write {name}={{'one': 1}}, or a YAML mapping in group_vars/"),
    "str": (lambda v: not isinstance(v, (list, dict)), "write one word, or quote it"),
    "path": (lambda v: isinstance(v, str), "write a path"),
}
