"""Proofs about a training: its losses, its weights, its steps; and a conversion of what was trained."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpulab.checks.figures import quarters
from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.metrics import parameters, step_counter, training_log

ADAPTER = "last-checkpoint/adapter_model.safetensors"


def _weights(path: Path) -> Any:
    from gpulab.checks.weights import Weights  # numpy: imported when a proof needs it

    return Weights(path)


@proof("loss falls")
def loss_falls(finished: Finished) -> str:
    """The mean loss of the last quarter of the logged steps is below that of the first quarter."""
    losses = [row["loss"] for row in training_log(finished.out)]
    if len(losses) < 2:
        raise Unproven(f"{len(losses)} losses in logging.jsonl: too few to compare")
    first, last = quarters(losses)
    if not last < first:
        raise Unproven(f"loss {first:.4g} -> {last:.4g} over {len(losses)} logged steps")
    return f"loss {first:.4g} -> {last:.4g} over {len(losses)} logged steps"


@proof("only lora weights trained")
def only_lora(finished: Finished) -> str:
    """The checkpoint holds nothing but LoRA tensors, and ms-swift counted fewer trainable parameters than all."""
    names = _weights(finished.out / ADAPTER).names
    other = [n for n in names if ".lora_" not in n]
    if other or not names:
        raise Unproven(f"{len(other)} of {len(names)} saved tensors are not LoRA's, {other[:1]}")
    counts = parameters(finished.out)
    if not counts or not 0 < counts[1] < counts[0]:
        raise Unproven(f"ms-swift counted {counts} million parameters (all, trainable)")
    return f"{len(names)} LoRA tensors saved, {counts[1]:g} of {counts[0]:g} million parameters trainable"


@proof("adapter moved")
def adapter_moved(finished: Finished) -> str:
    """LoRA's B matrices start as zeros: after training every one of them holds something else."""
    weights = _weights(finished.out / ADAPTER)
    matrices = [n for n in weights.names if ".lora_B" in n or ".lora_embedding_B" in n]
    moved = [n for n in matrices if any(weights.raw(n))]
    if not matrices or len(moved) < len(matrices):
        raise Unproven(f"{len(moved)} of {len(matrices)} B matrices differ from their initial zeros")
    return f"all {len(matrices)} B matrices differ from their initial zeros"


@proof("adapter holds NAME")
def adapter_holds(finished: Finished, name: str) -> str:
    """Some of the adapter's tensors are for modules of that name: experts, embed_tokens."""
    tensors, found = _adapter_tensors(finished, name)
    if not found:
        raise Unproven(f"none of {len(tensors)} tensors is for {name}")
    return f"{len(found)} of {len(tensors)} tensors are for {name}"


@proof("adapter has nothing of NAME")
def adapter_leaves_out(finished: Finished, name: str) -> str:
    """None of the adapter's tensors, and there are some, is for a module of that name."""
    tensors, found = _adapter_tensors(finished, name)
    if found or not tensors:
        raise Unproven(f"{len(found)} of {len(tensors)} tensors are for {name}")
    return f"none of {len(tensors)} tensors is for {name}"


def _adapter_tensors(finished: Finished, module: str) -> tuple[list[str], list[str]]:
    """The names of all of the adapter's tensors, and of those for modules of that name."""
    tensors = _weights(finished.out / ADAPTER).names
    return tensors, [tensor for tensor in tensors if module in tensor.split(".")]


@proof("dora magnitudes moved")
def dora_moved(finished: Finished) -> str:
    """DoRA's magnitude vectors start as the norms of the base weights' rows: after training they differ."""
    import numpy as np

    adapter, base = _weights(finished.out / ADAPTER), _weights(finished.base)
    vectors = [n for n in adapter.names if "lora_magnitude_vector" in n]
    moved = []
    for name in vectors:
        weight = name.removeprefix("base_model.model.").split(".lora_magnitude_vector")[0] + ".weight"
        initial = np.linalg.norm(base.array(weight), axis=1)
        if not np.allclose(adapter.array(name).ravel(), initial, rtol=1e-4, atol=1e-6):
            moved.append(name)
    if not vectors or not moved:
        raise Unproven(f"{len(moved)} of {len(vectors)} magnitude vectors differ from the base weights' norms")
    return f"{len(moved)} of {len(vectors)} magnitude vectors differ from the base weights' norms"


@proof("all weights trained")
def all_weights(finished: Finished) -> str:
    """A full checkpoint in which every tensor differs from the base model's. In bfloat16 a vector may be as it was: at
    1, where a norm begins, the next number is 0.008 away, and each step of a usual learning rate is rounded off."""
    weights = _weights(finished.out / "last-checkpoint")
    changed, same = weights.changed_from(_weights(finished.base))
    rounded = [name for name in same if weights.dtype(name) == "BF16" and weights.array(name).ndim == 1]
    frozen = sorted(set(same) - set(rounded))
    if frozen or not changed:
        raise Unproven(f"{len(frozen)} of {len(changed) + len(same)} tensors are as they were, {frozen[:1]}")
    beside = f"; {len(rounded)} vectors in bfloat16 are as they were" if rounded else ""
    return f"all {len(changed)} tensors differ from the base model's{beside}"


@proof("adapter merged")
@proof("a whole model retrained")
def merged(finished: Finished) -> str:
    """A whole model, the same tensors as the base, no adapter left, and some of them changed."""
    weights, base = _whole_model(finished), _weights(finished.base)
    changed, same = weights.changed_from(base)
    left = [n for n in weights.names if "lora_" in n]
    missing = sorted(set(base.names) - set(weights.names))
    if left or missing or not changed:
        raise Unproven(
            f"{len(changed)} tensors changed, {len(left)} of an adapter left, {len(missing)} of the base missing"
        )
    return f"{len(changed)} of {len(changed) + len(same)} tensors differ from the base model's, none of an adapter left"


@proof("the model's own weights")
def own_weights(finished: Finished) -> str:
    """Every tensor of the model that the run began with is there, its numbers as they were."""
    weights, base = _whole_model(finished), _weights(finished.base)
    changed, same = weights.changed_from(base)
    missing = set(base.names) - set(weights.names)
    if changed or missing:
        raise Unproven(f"of the model's {len(base.names)} tensors {len(changed)} changed, {len(missing)} are missing")
    return f"all {len(same)} tensors of the model are as they were"


def _whole_model(finished: Finished) -> Any:
    return _weights(next((f.parent for f in sorted(finished.out.rglob("config.json"))), finished.out))


@proof("loss as in STEP to N%")
def same_loss(finished: Finished, step: str, share: float) -> str:
    """Every logged loss is that of an earlier step with the same global batch, to a share of that step's mean loss."""
    before, after = ([r["loss"] for r in training_log(out)] for out in (finished.run / step, finished.out))
    if not before or len(before) != len(after):
        raise Unproven(f"{len(before)} losses in {step}, {len(after)} now")
    worst = max(abs(a - b) for a, b in zip(after, before, strict=True)) / (sum(before) / len(before))
    if worst > share:
        raise Unproven(f"a loss differs from {step}'s by {worst:.2%} of the mean loss")
    return f"{len(after)} losses as in {step}, to {worst:.2%} of the mean loss"


@proof("goes on as STEP to N%")
def goes_on_as(finished: Finished, step: str, share: float) -> str:
    """A resumed training has the last steps of the one that it goes on from, with the same losses, to a share of their
    mean: one that lost its optimizer or its place in the data has others, one that began anew has the first steps."""
    before, after = (_losses_by_step(out) for out in (finished.run / step, finished.out))
    steps = sorted(after)
    if not steps or steps[0] < 2 or steps != [n for n in sorted(before) if n >= steps[0]]:
        raise Unproven(f"{step} has {len(before)} steps, this one has {_span(steps)}")
    worst = max(abs(after[n] - before[n]) for n in steps) / (sum(before.values()) / len(before))
    if worst > share:
        raise Unproven(f"a loss of steps {_span(steps)} differs from {step}'s by {worst:.2%} of the mean loss")
    return f"steps {_span(steps)} with the losses of {step}, to {worst:.2%} of the mean loss"


def _losses_by_step(out: Path) -> dict[int, float]:
    return {counter[0]: row["loss"] for row in training_log(out) if (counter := step_counter(row))}


def _span(steps: list[int]) -> str:
    return f"{steps[0]} to {steps[-1]}" if steps else "none"


@proof("stopped early")
def stopped_early(finished: Finished) -> str:
    """The last logged step lies before the last of the planned ones."""
    counters = [counter for row in training_log(finished.out) if (counter := step_counter(row))]
    if not counters or counters[-1][0] >= counters[-1][1]:
        raise Unproven(f"it ran {counters[-1][0]} of {counters[-1][1]} steps" if counters else "no step was logged")
    return f"it ended after {counters[-1][0]} of {counters[-1][1]} steps"


@proof("went on from its checkpoint")
def went_on(finished: Finished) -> str:
    """The log, cut at the checkpoint's step, goes on after it: a training that began anew would repeat steps."""
    steps = [counter[0] for row in training_log(finished.out) if (counter := step_counter(row))]
    if not steps or any(later <= step for step, later in pairwise(steps)):
        raise Unproven(f"the steps are not in order, each once: {', '.join(map(str, steps[:20])) or 'none'}")
    return f"steps {steps[0]} to {steps[-1]} in order, each once"


@proof("converted without loss")
def converted(finished: Finished) -> str:
    """`megatron export --test_convert_precision true`: the logits of both forms differ by less than ms-swift's bound of
    0.1 in the mean, and no token differs where the loss counts."""
    log = finished.log.read_text(encoding="utf-8", errors="replace")
    mean = re.search(r"mean_diff \(with loss\): ([\d.e+-]+)", log)
    tokens = re.search(r"token_diff \(with loss\): (\d+)", log)
    if not mean or not tokens or not float(mean[1]) < 0.1 or int(tokens[1]):
        raise Unproven(f"{mean[0] if mean else 'no mean_diff'}; {tokens[0] if tokens else 'no token_diff'}")
    return f"the logits of both forms differ by {float(mean[1]):.2g} in the mean, no token does"
