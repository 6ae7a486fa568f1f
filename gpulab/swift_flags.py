"""Print ms-swift's flags by command as JSON, from its argument classes. Runs inside a stack (`inv lock` does it)."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any


def flags_of(arguments: type[Any]) -> list[str]:
    """Every flag that HfArgumentParser makes of a dataclass, sorted."""
    return sorted({field.name for field in dataclasses.fields(arguments) if field.init})


def main() -> None:
    """One object: {"swift sft": ["adapters", ...], ...}."""
    from swift import arguments as a

    commands = {
        "app": a.AppArguments, "deploy": a.DeployArguments, "eval": a.EvalArguments, "export": a.ExportArguments,
        "infer": a.InferArguments, "merge-lora": a.ExportArguments, "pt": a.PretrainArguments,
        "rlhf": a.RLHFArguments, "rollout": a.RolloutArguments, "sample": a.SamplingArguments,
        "sft": a.SftArguments, "web-ui": a.WebUIArguments,
    }  # fmt: skip
    json.dump({f"swift {name}": flags_of(cls) for name, cls in commands.items()}, sys.stdout, indent=0)
    print()


if __name__ == "__main__":
    main()
