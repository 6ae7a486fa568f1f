"""Proofs about a head: the layer that a classifier or a reward model has instead of a language model's."""

from __future__ import annotations

from gpulab.checks.registry import Finished, Unproven, proof

ADAPTER = "adapter_model.safetensors"
HEADS = ("score", "classifier", "v_head")  # a decoder's, an encoder's, a reward model's


@proof("heads trained beside lora")
def heads_trained(finished: Finished) -> str:
    """The adapter holds LoRA tensors, a head, and nothing else; the head differs between two checkpoints.

    A head starts at random and no base model has it, so that only a later checkpoint tells that it was trained.
    """
    from gpulab.checks.weights import Weights  # numpy: imported when a proof needs it

    saved = sorted(finished.out.glob(f"checkpoint-*/{ADAPTER}"), key=lambda f: int(f.parent.name.split("-")[-1]))
    if len(saved) < 2:
        raise Unproven(f"{len(saved)} checkpoints with an adapter: two are needed to see a head move")
    before, after = Weights(saved[0]), Weights(saved[-1])
    lora = [name for name in after.names if ".lora_" in name]
    heads = [name for name in after.names if name not in lora and set(name.split(".")) & set(HEADS)]
    other = sorted(set(after.names) - {*lora, *heads})
    if not lora or not heads or other:
        raise Unproven(f"{len(lora)} LoRA tensors, {len(heads)} of a head, {len(other)} others saved, {other[:1]}")
    still = [name for name in heads if name not in before.names or before.raw(name) == after.raw(name)]
    if still:
        raise Unproven(f"{len(still)} of {len(heads)} tensors of the head are as in {saved[0].parent.name}, {still[0]}")
    return f"{len(lora)} LoRA tensors and a head of {len(heads)}, trained since {saved[0].parent.name}"
