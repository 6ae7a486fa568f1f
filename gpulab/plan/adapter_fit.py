"""Does an adapter fit a model? Told from the shapes in their files, before anything is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gpulab.inside.checkpoints import Torn, tensors

CONFIG = "adapter_config.json"
BLOCK = re.compile(r"\.\d+\.")  # a layer of one of the blocks: model.layers.7.self_attn.q_proj


def misfit(adapter: Path, model: str) -> str | None:
    """Why an adapter is not one of `model`, a folder or a hub's id, in a few words; None where it is."""
    if not (adapter / CONFIG).is_file():
        return f"it has no {CONFIG}"
    if not Path(model).is_dir():
        trained = base_of(adapter)
        other = trained and Path(trained).name != Path(model).name
        return f"it was trained on {trained}" if other else None
    try:
        lora, base = shapes(adapter), shapes(Path(model))
    except Torn as error:
        return str(error)
    for name in (n for n in lora if n.endswith(".lora_A.weight")):
        layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        whole, outer = base.get(f"{layer}.weight"), lora.get(name.replace(".lora_A.", ".lora_B."))
        if whole is None and BLOCK.search(layer):  # a head, or what belongs to one, the model may come without
            return f"the model has no layer {layer}"
        if whole and outer and [outer[0], lora[name][1]] != whole:
            return f"{layer} is {whole[0]} x {whole[1]} in the model, {outer[0]} x {lora[name][1]} in the adapter"
    return None


def base_of(adapter: Path) -> str:
    """The model that an adapter was trained on, as ms-swift noted it down, or PEFT; "" where neither did."""
    for file, key in (("args.json", "model_dir"), ("args.json", "model"), (CONFIG, "base_model_name_or_path")):
        if (adapter / file).is_file() and (said := json_of(adapter / file).get(key)):
            return str(said)
    return ""


def shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of every tensor in a folder's *.safetensors files. Raises Torn where one is."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= {name: entry["shape"] for name, entry in tensors(file)[0].items()}
    return found


def json_of(file: Path) -> dict[str, Any]:
    """The object in a file."""
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read
