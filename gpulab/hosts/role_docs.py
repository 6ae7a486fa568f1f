"""The roles' READMEs and the table of all variables, made from the roles: python -m gpulab.hosts.role_docs"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gpulab.common.paths import ROOT

ROLES = ROOT / "ansible" / "roles"
TABLE = ROOT / "docs" / "role-variables.md"
NOTE = "<!-- Made by `python -m gpulab.hosts.role_docs` from defaults/main.yml and meta/argument_specs.yml. -->\n"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def shown(value: Any) -> str:
    """A default as it is written, on one line of a table."""
    text = (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    )
    text = " ".join(text.removesuffix("...\n").split()).replace("|", "\\|")
    return f"`{text}`" if text else "empty"


def variables(role: Path) -> str:
    """The table of a role's variables: name, type, default, meaning."""
    options = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})
    defaults = read(role / "defaults" / "main.yml") or {}
    rows = [f"| `{n}` | {o['type']} | {shown(defaults[n])} | {o['description']} |\n" for n, o in options.items()]
    return "| Variable | Type | Default | Meaning |\n|---|---|---|---|\n" + "".join(rows)


def readme(role: Path) -> str:
    spec = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    about = "".join(f"- {line}\n" for line in spec["description"])
    return f"{NOTE}# {role.name}\n\n{spec['short_description']}.\n\n{about}\n{variables(role)}"


def documented() -> list[Path]:
    """The roles a user meets; `packages` serves the other roles only and has no variables to set."""
    return sorted(spec.parents[1] for spec in ROLES.glob("*/meta/argument_specs.yml"))


def table() -> str:
    chapters = "".join(f"\n## {role.name}\n\n{variables(role)}" for role in documented())
    how = "Set them in the inventory: for one host, a group, or `[all:vars]`."
    return f"{NOTE}# Every variable of the roles\n\n{how}\n{chapters}"


def pages() -> dict[Path, str]:
    """Every generated page and what stands in it."""
    return {role / "README.md": readme(role) for role in documented()} | {TABLE: table()}


def main() -> None:
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
