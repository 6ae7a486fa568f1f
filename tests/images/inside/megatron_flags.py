"""Runs in an image with Megatron: every flag of ms-swift's Megatron commands, of the real argument classes."""

import dataclasses
import json
import sys

from swift.megatron import arguments as a

classes = {
    "export": a.MegatronExportArguments,
    "pt": a.MegatronPretrainArguments,
    "rlhf": a.MegatronRLHFArguments,
    "sft": a.MegatronSftArguments,
}
flags = {f"megatron {name}": sorted(f.name for f in dataclasses.fields(c) if f.init) for name, c in classes.items()}
json.dump(flags, sys.stdout)
