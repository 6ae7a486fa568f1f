"""Print ms-swift's flags by command as JSON, from its argument classes. Runs inside a stack (`inv lock` does it)."""

from __future__ import annotations

import ast
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any


def flags_of(arguments: type[Any]) -> list[str]:
    """Every flag that HfArgumentParser makes of a dataclass, sorted."""
    return sorted({field.name for field in dataclasses.fields(arguments) if field.init})


def flags_written(folder: Path, name: str, known: Any) -> list[str]:
    """The same, read from the dataclass's source below `folder`: of classes that import what this stack has not.

    A base class that is not written there is one of `known`'s.
    """
    sources = (ast.parse(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.py")))
    classes = {node.name: node for source in sources for node in source.body if isinstance(node, ast.ClassDef)}

    def flags(name: str) -> set[str]:
        if name not in classes:
            return set(flags_of(getattr(known, name)))
        own = {str(line.target.id) for line in classes[name].body
               if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)}  # fmt: skip
        return own.union(*(flags(base.id) for base in classes[name].bases if isinstance(base, ast.Name)))

    return sorted(flags(name))


def main() -> None:
    """One object: {"swift sft": ["adapters", ...], ..., "megatron sft": [...], ...}."""
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
    json.dump(found, sys.stdout, indent=0)
    print()


if __name__ == "__main__":
    main()
