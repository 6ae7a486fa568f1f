"""Problems of Python environments: what is installed, whether it fits together, whether it loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from packaging.specifiers import SpecifierSet

from gpulab.hosts.doctor.check import Finding, State, check, note, sick, verdict, version, well

# As uv and as pip say it.
MISSING = re.compile(r"requires `?([\w.-]+)[^,]*, (?:but it's|which is) not installed")
OLDEST_GLIBC = (2, 32)  # what flash-attn's wheels are linked against


def having(state: State, package: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The environments with a package, and its version."""
    for environment in state.get("pythons", []):
        if package in environment["packages"]:
            yield environment, environment["packages"][package]


def unmet(state: State, *packages: str) -> Finding | None:
    """What these packages ask of others, or others of them, and do not get."""
    found = {e["where"]: e for package in packages for e, _ in having(state, package)}
    told = [e for e in found.values() if e["conflicts"] is not None]
    if not told:
        return None
    lines = [
        f"{e['where']}: {line}"
        for e in told
        for line in e["conflicts"]
        if any(name in line.lower().replace("_", "-") for name in packages) and not left_out(state, e["where"], line)
    ]
    return verdict(lines, ", ".join(e["where"] for e in told))


def left_out(state: State, where: str, conflict: str) -> bool:
    """Whether what is missing is missing on purpose: the pins say what the lab's own stack does without."""
    missing = MISSING.search(conflict)
    return missing is not None and missing[1] in state.get("lab", {}).get("left_out", {}).get(where, ())


def loads(state: State, package: str) -> Finding | None:
    """Whether a package with compiled code can be imported."""
    found = list(having(state, package))
    if not found:
        return None
    broken = [f"{e['where']}: {package} {v}: {e['broken'][package]}" for e, v in found if package in e["broken"]]
    return verdict(broken, ", ".join(f"{package} {v} loads" for _, v in found))


@check(
    "flash-attn-abi",
    "flash-attn does not load: undefined symbol, GLIBC not found",
    "install the wheel for exactly this torch, CUDA, C++11 ABI and Python, or use the stack's image",
    "#8257 #7239 #5245",
)
def flash_attn_abi(state: State) -> Finding | None:
    found = loads(state, "flash-attn")
    glibc = state.get("system", {}).get("glibc", "")
    if found and found.state == "well" and glibc and version(glibc) < OLDEST_GLIBC:
        return sick(f"glibc {glibc} is older than 2.32")
    return found


@check("unlocked", "installing ms-swift[all] ends in resolution-too-deep", "./inv lock", "#4437 #4349 #4080 #4605")
def unlocked(state: State) -> Finding | None:
    if "locks" not in state.get("lab", {}):
        return None
    missing = [name for name, there in state["lab"]["locks"].items() if not there]
    return verdict([f"the stack {name} has no lock" for name in missing], f"{len(state['lab']['locks'])} stacks locked")


@check(
    "evalscope",
    "EvalScope's requirements fight with the training's",
    "evaluate in an environment of its own",
    "#5541 #4349 #9322",
)
def evalscope(state: State) -> Finding | None:
    return unmet(state, "evalscope")


@check(
    "transformer-engine",
    "TransformerEngine does not build or load",
    "take a prebuilt wheel; else set CUDNN_PATH and build with --no-build-isolation",
    "#3793 #4051 #6105",
)
def transformer_engine(state: State) -> Finding | None:
    without = [
        e["where"]
        for e, _ in having(state, "megatron-core")
        if "transformer-engine" not in e["packages"] and not e["packages"].get("torch", "").endswith("+cpu")
    ]  # where torch is for a CPU, rehearsals have plain PyTorch's layers instead
    if without:
        return sick(f"megatron-core without TransformerEngine in {', '.join(without)}")
    return loads(state, "transformer-engine")


@check(
    "flash-attn-too-new",
    "flash-attn is newer than TransformerEngine supports: it is silently not used",
    "install the newest flash-attn that TransformerEngine names",
    "#8359",
)
def flash_attn_too_new(state: State) -> Finding | None:
    both = [(e, v) for e, v in having(state, "flash-attn") if e["flash_attn_max"]]
    if not both:
        return None
    late = [f"{e['where']}: flash-attn {v}, at most {e['flash_attn_max']}" for e, v in both
            if version(v) > version(e["flash_attn_max"])]  # fmt: skip
    return verdict(late, ", ".join(f"{v} <= {e['flash_attn_max']}" for e, v in both))


@check(
    "megatron-core",
    "megatron-core is not one that ms-swift works with",
    "install what docker/stacks.yml names under works_with",
    "#6725 #5131 #6805",
)
def megatron_core(state: State) -> Finding | None:
    found = list(having(state, "megatron-core"))
    wrong = [
        f"{e['where']}: {package} {e['packages'].get(package, 'is missing')}, not {wanted}"
        for e, _ in found
        for package, wanted in state["lab"]["works_with"].items()
        if package not in e["packages"] or not SpecifierSet(wanted).contains(e["packages"][package], prereleases=True)
    ]
    return verdict(wrong, ", ".join(v for _, v in found)) if found else None


@check(
    "vllm-pair",
    "vLLM and ms-swift, torch or transformers do not fit together",
    "install the stack's lock",
    "#8038 #5301 #6004 #3042",
)
def vllm_pair(state: State) -> Finding | None:
    return unmet(state, "vllm")


@check(
    "trl-transformers",
    "trl, transformers, peft or datasets outside of what ms-swift takes",
    "install the stack's lock",
    "#3268 #9261 #6768",
)
def trl_transformers(state: State) -> Finding | None:
    return unmet(state, "ms-swift", "trl", "transformers", "peft", "datasets")


@check(
    "silent-torch-fallback",
    "fla or causal-conv1d is missing: linear attention silently falls back to slow torch code",
    "pip install flash-linear-attention causal-conv1d, both",
    "#7210 #9556 #8389",
)
def silent_torch_fallback(state: State) -> Finding | None:
    found = [e for e, v in having(state, "torch") if "+cpu" not in v and "ms-swift" in e["packages"]]
    if not found:
        return None
    halves = []
    for e in found:
        there = [p for p in ("flash-linear-attention", "causal-conv1d") if p in e["packages"] and p not in e["broken"]]
        if len(there) == 1:
            halves.append(f"{e['where']}: only {there[0]} is usable")
    if halves:
        return sick("; ".join(halves))
    bare = [e["where"] for e in found if "causal-conv1d" not in e["packages"]]
    return (
        note(f"neither is in {', '.join(bare)}: Qwen3-Next and its like need both") if bare else well("both are there")
    )
