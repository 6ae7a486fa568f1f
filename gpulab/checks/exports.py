"""Proofs about an export: how a model's weights are kept, and what they weigh."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.metrics import weights_bytes


@proof("quantized by NAME to NUMBER bits")
def quantized(finished: Finished, name: str, number: float) -> str:
    """config.json names method and bits, and the weights hold packed layers: a config alone is only a claim."""
    from gpulab.checks.weights import Weights  # numpy: imported when a proof needs it

    folder = _model(finished.out)
    said: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8")).get(
        "quantization_config", {}
    )
    method, bits = said.get("quant_method"), _bits(said)
    weights = Weights(folder)
    packed = [tensor for tensor in weights.names if _packed(name, tensor, weights.dtype(tensor))]
    evidence = f"config.json says {method} to {bits} bits, {len(packed)} packed layers in the weights"
    if method != name or bits != number or not packed:
        raise Unproven(evidence)
    return evidence


@proof("the base is held in NUMBER bits")
def held(finished: Finished, number: float) -> str:
    """Of the model as ms-swift prints it some layers are bitsandbytes' of that many bits, and none of others."""
    log = finished.log.read_text(encoding="utf-8", errors="replace")
    layers = re.findall(r"\bLinear([48])bit(?:Lt)?\(", log)
    bits = set(map(int, layers))
    if bits != {number}:
        raise Unproven(f"the log shows quantized layers of {sorted(bits) or 'no'} bits")
    return f"the log shows {len(layers)} layers of {number:g} bits"


@proof("weights at most N% of STEP")
def lighter(finished: Finished, share: float, step: str) -> str:
    """The model's weights on disk against those that an earlier step made."""
    before, after = weights_bytes(finished.run / step), weights_bytes(finished.out)
    if not before or not after:
        raise Unproven(f"{before} bytes of weights in {step}, {after} now")
    evidence = f"{after / before:.0%} of the weights' {before / 2**20:.2f} MiB in {step}"
    if after > share * before:
        raise Unproven(evidence)
    return evidence


@proof("same weights as STEP")
def same_weights(finished: Finished, step: str) -> str:
    """Every file of weights is, to the byte, that of an earlier step's last checkpoint."""
    from gpulab.checks.verdict import sha256

    before = {f.name: sha256(f) for f in (finished.run / step / "last-checkpoint").glob("*.safetensors")}
    after = {f.name: sha256(f) for f in finished.out.rglob("*.safetensors")}
    if not before or before != after:
        raise Unproven(f"{sorted(after) or 'no weights'} are not {sorted(before) or 'any'} of {step}")
    return f"{', '.join(sorted(after))} as in {step}, to the byte"


@proof("modelfile says what the chat template says")
def modelfile(finished: Finished) -> str:
    """ollama's template, a question put in, is the prompt that the model's own chat template makes of it."""
    text = next(iter(sorted(finished.out.rglob("Modelfile")))).read_text(encoding="utf-8")
    base = re.search(r"^FROM (.+)$", text, re.MULTILINE)
    template = re.search(r'^TEMPLATE """(.*?)"""', text, re.MULTILINE | re.DOTALL)
    if not base or not template:
        raise Unproven(f"the Modelfile has {'no TEMPLATE' if base else 'no FROM'}")
    system, question = "You answer in one word.", "What is the capital of Zandoria?"
    prompt, _, after = template[1].partition("{{ .Response }}")
    prompt = re.sub(r"{{ if \.System }}(.*?){{ else }}.*?{{ end }}", r"\1", prompt, flags=re.DOTALL)
    prompt = re.sub(r"{{ if \.Prompt }}(.*?){{ end }}", r"\1", prompt, flags=re.DOTALL)
    prompt = prompt.replace("{{ .System }}", system).replace("{{ .Prompt }}", question)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    wanted = _chat(Path(base[1]), messages)
    if prompt != wanted:
        raise Unproven(f"ollama would say {prompt[:120]!r}, the chat template says {wanted[:120]!r}")
    return f"both make {len(prompt)} characters of a question, and end an answer with {after.strip()!r}"


def _chat(model: Path, messages: list[dict[str, str]]) -> str:
    """The prompt that a model's chat template makes of messages."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # beside transformers in every stack

    file = model / "chat_template.jinja"
    own = file.read_text(encoding="utf-8") if file.is_file() else None
    template = own or json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    rendered = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return str(rendered.render(messages=messages, add_generation_prompt=True))


def _model(out: Path) -> Path:
    found = sorted(out.rglob("config.json"))
    if not found:
        raise Unproven(f"no model in {out.name}")
    return found[0].parent


def _bits(said: dict[str, Any]) -> int | None:
    if said.get("load_in_4bit"):
        return 4
    if said.get("load_in_8bit") or said.get("quant_method") == "fp8":
        return 8
    return said.get("bits")


def _packed(method: str, name: str, dtype: str) -> bool:
    """Whether a tensor is what a method makes of a layer: by its name or its type."""
    if method == "bitsandbytes":
        return ".weight.absmax" in name or name.endswith(".SCB")
    return name.endswith(".qweight") if method in ("awq", "gptq") else dtype == "F8_E4M3"
