"""About how much of a GPU's memory a training takes: what is held per parameter, and what is kept of a forward pass.

Bytes per parameter:
- Megatron with bf16: weights 2, gradients 4 (fp32), optimizer 12 (fp32 weights and Adam's two moments), the last shared
  by the data parallel ranks with the distributed optimizer (megatron/training/theoretical_memory_usage.py; docs of
  `dist_optimizer`).
- transformers: weights 2, gradients 2, Adam's moments 4, all in the model's own bf16; DDP copies the gradients into its
  buckets, 2 more. LoRA's matrices are fp32: 4 + 4 + 8.
- Quantized (QLoRA): the layers' weights alone. The embedding and the output layer stay in 16 bits (transformers'
  BitsAndBytesConfig; in a model of 7B they are 2 GiB), and scales take 0.127 bits more of each weight (Dettmers et al.
  2023, QLoRA, section 3: double quantization).
- A reference model of DPO or KTO, frozen: its weights alone, shared out as the policy's are.
- DeepSpeed: 2 + 2 + 12 by Rajbhandari et al. 2020 (ZeRO, section 3), the optimizer shared from stage 1 on, gradients
  from 2, weights from 3. FSDP shards as stage 3.

Activations: what Korthikanti et al. 2022 (Reducing Activation Recomputation, section 4) count by tensor, here for
grouped heads and gated MLPs, with flash attention and without dropout: for each token and layer 8h for two norms and
what they give, 2(q+2kv) + 2q for attention, 6f for the MLP. For the paper's own model (q = kv = h, 16h for its MLP)
this is its 34h less the 2h of dropout masks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gpulab.inside.layout import Layout
from gpulab.plan.layout.shape import Shape
from gpulab.plan.layout.training import Training

GIB = 2**30
CONTEXT = 1.5  # GiB: CUDA's own and NCCL's buffers, before the first tensor
SCALES = 0.127  # bits for each quantized weight
SLACK = 0.05  # of all tensors: what the allocator can't use
LIVE = 1_000_000_000  # parameters that ZeRO-3 keeps gathered at most (ms-swift's zero3.json)


@dataclass(frozen=True)
class Memory:
    """GiB on the GPU that needs most."""

    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0

    @property
    def total(self) -> float:
        """All of it, with what the driver and the allocator take."""
        tensors = self.weights + self.gradients + self.optimizer + self.activations
        return CONTEXT + tensors * (1 + SLACK) if tensors else 0.0

    def as_dict(self) -> dict[str, float]:
        """For --json, rounded to 0.1."""
        return {name: round(value, 1) for name, value in {**asdict(self), "total": self.total}.items()}


def lora_parameters(shape: Shape, rank: int) -> tuple[int, int]:
    """(of all layers' attention and MLP, of all experts): LoRA on every linear layer, ms-swift's default."""
    attention = (shape.hidden + shape.q) * 2 + (shape.hidden + shape.kv) * 2
    if shape.latent:
        matrices = [*shape.latent.divided(shape.hidden, shape.heads), *shape.latent.repeated(shape.hidden)]
        attention = sum(wide + out for wide, out in matrices)
    sparse = shape.layers - shape.dense_layers
    mlp = shape.dense_layers * 3 * (shape.hidden + shape.ffn)
    if shape.shared_ffn:
        mlp += sparse * 3 * (shape.hidden + shape.shared_ffn)
    experts = sparse * shape.experts * 3 * (shape.hidden + shape.moe_ffn)
    return rank * (shape.layers * attention + mlp), rank * experts


def kept_by_layer(shape: Shape, training: Training, tensor: int = 1) -> float:
    """Bytes that one layer keeps of one token for the backward pass, on one of `tensor` GPUs: of a mixture one with
    experts."""
    mlp = 6 * shape.ffn
    if shape.experts:
        mlp = shape.experts_per_token * (4 * shape.hidden + 6 * shape.moe_ffn) + 6 * shape.shared_ffn
    attention = shape.latent.kept(shape.heads) if shape.latent else 2 * shape.q + 2 * shape.kv
    inner = 2 * attention + mlp
    if training.dense_attention:
        inner += 5 * shape.heads * training.sequence
    norms = 8 * shape.hidden
    return inner / tensor + (norms / tensor if training.sequence_parallel else norms)


def megatron_memory(shape: Shape, training: Training, layout: Layout) -> Memory:
    """The most loaded pipeline stage: the first has the embedding and most passes in flight, the last the logits."""
    layers = layout.stages(shape.layers, training.first_layers, training.last_layers)
    last = layout.pipeline - 1
    stages = [_stage(shape, training, layout, layers, s) for s in sorted({0, min(1, last), last})]
    return max(stages, key=lambda memory: memory.total)


def _stage(shape: Shape, training: Training, layout: Layout, stages: list[int], stage: int) -> Memory:
    held, experts = _of_stage(shape, training, layout, stages, stage)
    seen = shape.vision if stage == 0 else None
    whole = held + (seen.trained(tower=True, aligner=True) if seen else 0)
    if training.command == "export":
        return Memory(weights=training.weight_bytes * (whole + experts) / GIB)
    if training.full:
        trained, trained_experts = (held, experts) if training.language else (0.0, 0.0)
        trained += seen.trained(training.tower, training.aligner) if seen else 0
    else:
        part = stages[stage] / shape.layers * training.language
        of_layers, of_experts = lora_parameters(shape, training.lora_rank)
        trained, trained_experts = part * of_layers / layout.tensor, part * of_experts / layout.expert
        trained += training.lora_rank * seen.adapters(training.tower, training.aligner) if seen else 0
    shares = layout.data * layout.context if training.shards_optimizer else 1
    expert_shares = layout.expert_data if training.shards_optimizer else 1
    optimizer = 12 * (trained / shares + trained_experts / expert_shares) * (1 - training.optimizer_offload)
    extra = 0 if training.full else trained + trained_experts
    return Memory(
        weights=training.weight_bytes * ((1 + training.references) * (whole + experts) + extra) / GIB,
        gradients=4 * (trained + trained_experts) / GIB,
        optimizer=optimizer / GIB,
        activations=_megatron_activations(shape, training, layout, stages[stage], stage) / GIB,
    )


def _of_stage(shape: Shape, training: Training, layout: Layout, stages: list[int], stage: int) -> tuple[float, float]:
    """Parameters of the language model on a rank of a stage: (of all but the experts, of the experts).

    A layer of multi-token prediction is one of the model's last layers with three norms and a matrix more; it is on the
    last stage, which then has the embedding, too (megatron/core/models/gpt/gpt_model.py: `mtp_process`).
    """
    layers, before = stages[stage], sum(stages[:stage])
    plain = min(max(shape.dense_layers - before, 0), layers)  # the model's first layers have no experts
    last = stage == layout.pipeline - 1
    more = training.predicted if last else 0
    ends = (stage == 0) + (last and not training.headed and not (shape.tied and layout.pipeline == 1))
    ends += bool(more) and layout.pipeline > 1
    plain, layers = plain + (0 if shape.experts else more), layers + more
    divided = layers * shape.attention + plain * shape.mlp + (layers - plain) * shape.shared + ends * shape.embedding
    divided += more * shape.predictor
    dense = divided / layout.tensor + layers * shape.replicated + (layers - plain) * shape.router
    dense += more * 3 * shape.hidden
    return dense, (layers - plain) * shape.experts_of_layer / (layout.expert * layout.expert_tensor)


def _megatron_activations(shape: Shape, training: Training, layout: Layout, layers: int, stage: int) -> float:
    tokens = training.samples * training.sequence / layout.context
    passes = max(1, training.batch // (training.micro * layout.data))
    in_flight = float(min(layout.pipeline - stage, passes))
    if training.virtual > 1:  # Narayanan et al. 2021: interleaving keeps more passes
        in_flight = in_flight * (1 + (layout.pipeline - 1) / (layout.pipeline * training.virtual))
    last = stage == layout.pipeline - 1
    layers += training.predicted if last else 0
    layer = kept_by_layer(shape, training, layout.tensor)
    if training.recompute:
        inputs = 2 * shape.hidden / (layout.tensor if training.sequence_parallel else 1)
        kept = tokens * (in_flight * layers * inputs + layer)
    else:
        kept = tokens * in_flight * layers * layer
    vocab = 0 if training.headed else shape.vocab
    logits = 4 * tokens * (shape.hidden + vocab) / layout.tensor * (1 + training.predicted) if last else 0
    seen = shape.vision.kept(tokens) if shape.vision and training.tower and stage == 0 else 0
    return kept + logits + seen


def swift_memory(shape: Shape, training: Training, processes: int, local: int, gpus: int) -> Memory:
    """A `swift` step of `processes` ranks, `local` on each node of `gpus` GPUs.

    A process without DeepSpeed and FSDP spreads its layers over its share of the node's GPUs (device_map).
    """
    if not training.trains:
        if training.on_cpu:
            return Memory(weights=0)
        ways = training.serving_ways or max(1, gpus // local)
        return Memory(weights=_held(shape, training) / ways / GIB)
    split = 1 if training.zero else max(1, gpus // local)
    base = _parameters(shape, training) / split
    adapters = training.language * sum(lora_parameters(shape, training.lora_rank)) / split
    if shape.vision:
        adapters += training.lora_rank * shape.vision.adapters(training.tower, training.aligner) / split
    frozen = _frozen(shape, training) / split
    trained = base - frozen if training.full else adapters
    by_stage = [processes if training.zero >= stage else 1 for stage in (1, 2, 3)]
    models = (1 + training.references) * _held(shape, training) / split
    weights = (models + (0 if training.full else 4 * adapters)) / by_stage[2]
    if training.zero:
        gradients, optimizer = 2 * trained / by_stage[1], 12 * trained / by_stage[0] * (1 - training.optimizer_offload)
    elif training.full:
        gradients, optimizer = (4 if processes > 1 else 2) * trained, 4 * trained
    else:
        gradients, optimizer = 4 * trained, 8 * trained
    if training.zero == 3:
        live = 2 * (base - 2 * shape.embedding) / shape.layers if training.fsdp else min(LIVE, base)
        weights = (0 if training.param_offload else weights) + 2 * live
    return Memory(weights / GIB, gradients / GIB, optimizer / GIB, _swift_activations(shape, training, split) / GIB)


def _parameters(shape: Shape, training: Training) -> int:
    """All parameters; where the output is a few numbers, without the layer over the vocabulary."""
    return shape.parameters - (shape.embedding if training.headed and not shape.tied else 0)


def _held(shape: Shape, training: Training) -> float:
    """Bytes of one model's weights."""
    parameters = _parameters(shape, training)
    if not training.quant_bits:
        return training.weight_bytes * parameters
    ends = shape.embedding * (1 if shape.tied or training.headed else 2)
    return 2 * ends + (training.quant_bits + SCALES) / 8 * (parameters - ends)


def _frozen(shape: Shape, training: Training) -> int:
    """Parameters of a model that sees which are not trained."""
    if not shape.vision:
        return 0
    language = 0 if training.language else shape.spoken
    return language + shape.vision.trained(not training.tower, not training.aligner)


def _swift_activations(shape: Shape, training: Training, split: int) -> float:
    tokens = training.samples * training.sequence
    layer, layers = kept_by_layer(shape, training), shape.layers / split
    kept = tokens * (layers * 2 * shape.hidden + layer) if training.recompute else tokens * layers * layer
    kept += shape.vision.kept(tokens) if shape.vision and training.tower else 0
    # bf16 logits, their fp32 copy and its gradient; a fused loss never holds them whole
    return kept + (0 if training.fused_loss or training.headed else 10 * tokens * shape.vocab)
