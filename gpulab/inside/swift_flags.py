"""Print ms-swift's flags by command as JSON, from its argument classes. Runs inside a stack (`inv lock` does it).

A flag's kind is `int`, `float` or `bool`, a list of choices, or null for any text: ms-swift's own parser says.
"""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Kind = str | list[str] | None


def flags_of(arguments: type[Any]) -> dict[str, Kind]:
    """Every flag that HfArgumentParser makes of a dataclass, with its kind."""
    from transformers import HfArgumentParser

    names = {field.name for field in dataclasses.fields(arguments) if field.init}
    actions = {action.dest: action for action in HfArgumentParser(arguments)._actions}
    return {name: kind_of(actions[name]) for name in sorted(names)}


def kind_of(action: Any) -> Kind:
    """What values the parser takes for a flag."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    if action.type in (int, float):
        return str(action.type.__name__)
    return "bool" if getattr(action.type, "__name__", "") == "string_to_bool" else None


def flags_written(
    folder: Path, name: str, known: Any, of: Callable[[type[Any]], dict[str, Kind]] = flags_of
) -> dict[str, Kind]:
    """The same, read from the dataclass's source below `folder`: of classes that import what this stack has not.

    A base class that is not written there is one of `known`'s, told by `of`; of the others the kinds stay open.
    """
    sources = (ast.parse(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.py")))
    classes = {node.name: node for source in sources for node in source.body if isinstance(node, ast.ClassDef)}

    def flags(name: str) -> dict[str, Kind]:
        if name not in classes:
            return of(getattr(known, name))
        found: dict[str, Kind] = {}
        for base in classes[name].bases:
            found |= flags(base.id) if isinstance(base, ast.Name) else {}
        for line in classes[name].body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                found[line.target.id] = None
        return found

    return dict(sorted(flags(name).items()))


def main() -> None:
    """One object: {"swift sft": {"adapters": null, "max_steps": "int", ...}, ..., "megatron sft": {...}, ...}."""
    from swift import arguments as a

    commands = {
        "app": a.AppArguments, "deploy": a.DeployArguments, "eval": a.EvalArguments, "export": a.ExportArguments,
        "infer": a.InferArguments, "merge-lora": a.ExportArguments, "pt": a.PretrainArguments,
        "rlhf": a.RLHFArguments, "rollout": a.RolloutArguments, "sample": a.SamplingArguments,
        "sft": a.SftArguments, "web-ui": a.WebUIArguments,
    }  # fmt: skip
    megatron = {
        "export": "MegatronExportArguments", "pt": "MegatronPretrainArguments", "rlhf": "MegatronRLHFArguments",
        "sft": "MegatronSftArguments",
    }  # fmt: skip
    folder = Path(str(a.__file__)).parents[1] / "megatron/arguments"
    found = {f"swift {name}": flags_of(cls) for name, cls in commands.items()}
    found |= {f"megatron {name}": flags_written(folder, cls, a) for name, cls in megatron.items()}
    print(as_text(found))


def as_text(found: dict[str, dict[str, Kind]]) -> str:
    """As JSON, a flag a line."""
    parts = []
    for command, flags in found.items():
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(kind)}" for name, kind in flags.items())
        parts.append(f"{json.dumps(command)}: {{\n{lines}\n}}")
    return "{\n" + ",\n".join(parts) + "\n}"


if __name__ == "__main__":
    main()
