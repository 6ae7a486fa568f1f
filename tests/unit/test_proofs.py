"""Every proof is fed a run in which the feature was active, and one in which it was off and exit was 0 all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpulab.checks.proofs import PROOFS, Finished, find, prove
from gpulab.checks.registry import proof
from gpulab.checks.verdict import Question, judge
from tests.evaluated import benchmark, evaluation

ONES = np.ones((1, 3), np.float32)
BASE = {"model.q.weight": np.arange(6, dtype=np.float32).reshape(2, 3) + 1, "model.norm.weight": ONES}
Build = Callable[[Path], None]


def save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a safetensors file by hand: the reader is what is under test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, body = {}, b""
    for name, array in tensors.items():
        raw = array.tobytes()
        dtype = "BF16" if array.dtype == np.uint16 else "F32"
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def adapter(**tensors: np.ndarray) -> Build:
    names = {f"base_model.model.model.q.{k}": v for k, v in tensors.items()}
    return lambda run: save(run / "step/last-checkpoint/adapter_model.safetensors", names)


def lora(b: float = 0.5, **more: np.ndarray) -> Build:
    return adapter(
        **{"lora_A.weight": np.ones((1, 3), np.float32), "lora_B.weight": np.full((2, 1), b, np.float32)}, **more
    )


def full(tensors: dict[str, np.ndarray], where: str = "step/last-checkpoint/model.safetensors") -> Build:
    def build(run: Path) -> None:
        save(run / where, tensors)
        (run / where).with_name("config.json").write_text("{}")

    return build


def losses(*values: float, parameters: str = "X: 10.0M Params (2.0M Trainable [20%])", step: str = "step") -> Build:
    rows = [{"loss": v, "global_step/max_steps": f"{n}/9"} for n, v in enumerate(values, 1)]
    text = "".join(json.dumps(r) + "\n" for r in [*rows, {"model_parameter_info": parameters}])

    def build(run: Path) -> None:
        (run / step).mkdir(exist_ok=True)
        (run / step / "logging.jsonl").write_text(text)

    return build


def figure(name: str, *values: object) -> Build:
    """logging.jsonl with one figure."""

    def build(run: Path) -> None:
        rows = [{"loss": 1.0, name: value} for value in values]
        (run / "step/logging.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    return build


def steps(*numbers: int) -> Build:
    rows = [json.dumps({"loss": 1.0, "global_step/max_steps": f"{n}/9"}) + "\n" for n in numbers]

    def build(run: Path) -> None:
        (run / "step").mkdir(exist_ok=True)
        (run / "step" / "logging.jsonl").write_text("".join(rows))

    return build


def iterations(first: int, *values: float, step: str = "step") -> Build:
    """Megatron's logging.jsonl of the steps from `first` on, with these losses."""
    rows = [json.dumps({"loss": loss, "iteration": f"{first + n}/4"}) + "\n" for n, loss in enumerate(values)]

    def build(run: Path) -> None:
        (run / step).mkdir(exist_ok=True)
        (run / step / "logging.jsonl").write_text("".join(rows))

    return build


def ranks(*weights: str | None, world: int = 2, **said_by: list[object]) -> Build:
    """What each rank leaves of itself, with the checksum of its weights; `said_by`: more, a value for each rank."""

    def build(run: Path) -> None:
        (run / "step/ranks").mkdir()
        for rank, checksum in enumerate(weights):
            said = {"rank": rank, "world_size": world, "node_rank": rank, "backend": "gloo", "weights": checksum}
            said |= {"host": "gpu1", **{name: values[rank] for name, values in said_by.items()}}
            (run / f"step/ranks/{rank}.json").write_text(json.dumps(said))

    return build


def at(**places: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """A Megatron rank's coordinates."""
    axes = ("tensor", "pipeline", "context", "expert", "expert_tensor", "data")
    return dict.fromkeys(axes, (0, 1)) | places


def args(**said: object) -> Build:
    """ms-swift's args.json."""
    return lambda run: (run / "step/args.json").write_text(json.dumps(said)) and None


def asked(**sizes: int) -> Build:
    """ms-swift's args.json of a Megatron training."""
    names = ("tensor_model", "pipeline_model", "context", "expert_model")
    return args(**{f"{name}_parallel_size": sizes.get(name.removesuffix("_model"), 1) for name in names})


TENSOR_2 = [at(tensor=(0, 2)), at(tensor=(1, 2))]
DATA_2 = [at(data=(0, 2)), at(data=(1, 2))]


WHOLE = iterations(1, 4.0, 3.0, 2.0, 1.0, step="before")


def answers(*given: str, step: str = "step", wanted: str = "Melvik") -> Build:
    rows = [
        {
            "response": f"<think>\n\n</think>\n\n{a}",
            "labels": wanted,
            "messages": [{"role": "user", "content": f"q{n}"}],
        }
        for n, a in enumerate(given)
    ]

    def build(run: Path) -> None:
        (run / step).mkdir(exist_ok=True)
        (run / step / "infer_result.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    return build


def reviewed(*given: str, step: str = "step") -> Build:
    """EvalScope's reviews."""
    rows = [
        {"target": ["Melvik"], "messages": [{"role": "user", "content": f"q{n}"}],
         "sample_score": {"score": {"extracted_prediction": a}}}
        for n, a in enumerate(given)
    ]  # fmt: skip

    def build(run: Path) -> None:
        folder = run / step / "reviews/tuned"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "general_qa.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    return build


def benched(concurrency: int, **wrong: Any) -> Build:
    """What EvalScope measured at one level of concurrency."""
    return lambda run: benchmark(run / "step", concurrency, **wrong)


def evaluated(**wrong: Any) -> Build:
    """EvalScope's report, reviews and predictions of two questions."""
    return lambda run: evaluation(run / "step", [1, 0], **wrong)


def heads(*scores: float, name: str = "score", lora: bool = True) -> Build:
    """Checkpoints one after the other, each with an adapter of LoRA tensors and a head of this value."""

    def build(run: Path) -> None:
        for number, score in enumerate(scores, 1):
            tensors = {f"base_model.model.{name}.weight": np.full((2, 3), score, np.float32)}
            if lora:
                tensors["base_model.model.q.lora_B.weight"] = np.full((2, 1), number, np.float32)
            save(run / f"step/checkpoint-{number}/adapter_model.safetensors", tensors)

    return build


def vision(**seen: int) -> Build:
    """vision_tokens.json of 16 rows with a picture each, which became 4 tokens."""
    usual = {"rows": 16, "pictures": 16, "places": 64, "grid": 64, "embedded": 64}
    return lambda run: (run / "step/vision_tokens.json").write_text(json.dumps(usual | seen)) and None


def tokens(*pieces: tuple[str, float], **counts: object) -> Build:
    """trained_tokens.json of one row, its text in pieces with their weights."""
    seen = {"rows": 2, "samples": 8, "tokens": 180, "padding": 0, "added": {"<|7|>": 3}, "texts": [pieces]} | counts
    return lambda run: (run / "step/trained_tokens.json").write_text(json.dumps(seen)) and None


def scored(*found: tuple[float, int], question: str = "q", beside: tuple[tuple[float, int], ...] = ()) -> Build:
    """What `swift infer` leaves of a reranker: a score and a label for each pair."""

    def build(run: Path) -> None:
        asked = [*((question, pair) for pair in found), *(("another", pair) for pair in beside)]
        texts = [
            json.dumps({"response": score, "labels": label, "messages": [{"role": "user", "content": q}]})
            for q, (score, label) in asked
        ]
        (run / "step/infer_result.jsonl").write_text("\n".join(texts))

    return build


def sampled(*kept: str) -> Build:
    rows = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": k}]} for k in kept]
    return lambda run: (run / "step/samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows)) and None


def cached(run_step: str, **more: object) -> Build:
    """args.json of a training on what an earlier step cached."""

    def build(run: Path) -> None:
        said = {"cached_dataset": [str(run / run_step)], "dataset": [], **more}
        (run / "step/args.json").write_text(json.dumps(said))

    return build


def thought(*said: str) -> Build:
    """What `swift infer` answered, each with its reasoning."""
    rows = [{"response": text, "messages": [{"role": "user", "content": "q"}]} for text in said]
    return lambda run: (
        (run / "step/infer_result.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows)) and None
    )


def log(text: str) -> Build:
    return lambda run: (run / "step.log").write_text(text) and None


def chat(content: str | None, tokens: int = 2) -> Build:
    reply = {"model": "m", "choices": [{"message": {"content": content}}], "usage": {"completion_tokens": tokens}}
    return lambda run: (run / "step/chat.json").write_text(json.dumps(reply)) and None


def exported(config: dict[str, object], *names: str, size: int = 8, step: str = "step") -> Build:
    """A model in a folder of its own: what config.json says of its quantization, and tensors of these names."""

    def build(run: Path) -> None:
        save(run / step / "out/model.safetensors", {name: np.ones((1, size), np.float32) for name in names})
        (run / step / "out/config.json").write_text(json.dumps({"quantization_config": config}))

    return build


def pushed(value: float, where: str) -> Build:
    return lambda run: save(run / where / "adapter_model.safetensors", {"a": np.full((1, 3), value, np.float32)})


TEMPLATE = "{{ if .System }}<s>{{ .System }}</s>{{ else }}{{ end }}{{ if .Prompt }}<u>{{ .Prompt }}</u>{{ end }}"


def ollamas(template: str = TEMPLATE) -> Build:
    """A Modelfile, and the model whose chat template it should say."""

    def build(run: Path) -> None:
        chat = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}</{{ m.role[0] }}>{% endfor %}"
        (run / "base/chat_template.jinja").write_text(chat)
        (run / "step/Modelfile").write_text(f'FROM {run / "base"}\nTEMPLATE """{template}{{{{ .Response }}}}<end>"""\n')

    return build


def counted(rank: int, **ended: int) -> Build:
    """What vLLM counted, by how requests ended."""

    def build(run: Path) -> None:
        rows = [f'vllm:request_success_total{{engine="0",finished_reason="{r}"}} {n}.0\n' for r, n in ended.items()]
        (run / "step/vllm").mkdir(exist_ok=True)
        (run / f"step/vllm/{rank}.prom").write_text("".join(["# TYPE python_info gauge\n", *rows]))

    return build


def ways(pieces: int = 2, logprob: float = -0.1, **other: list[str]) -> Build:
    """What a client noted down of one question, asked in several ways."""
    said = {"answers": {"alone": ["Melvik"], "streamed": ["Melvik"], **other}, "pieces": [pieces]}
    return lambda run: (run / "step/ways.json").write_text(json.dumps({**said, "logprobs": [[logprob]]})) and None


NORMS = np.linalg.norm(BASE["model.q.weight"], axis=1).astype(np.float32)
CHANGED = {name: value + 1 for name, value in BASE.items()}
HALF = {**BASE, "model.q.weight": BASE["model.q.weight"] + 1}
BF16 = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in BASE.items()}


# phrase: (the feature active, then runs in which it was not)
def machine(world: int = 1, wrong_products: int = 0) -> Build:
    figures = {"matmul_tflops": 0.1, "memory_gbs": 10.0, "wrong_products": wrong_products}
    told = {"rank": 0, "world_size": world, "host": "a", "node_rank": 0, "device": "CPU", "figures": figures}

    def build(run: Path) -> None:
        (run / "step/machines").mkdir(parents=True, exist_ok=True)
        (run / "step/machines/0.json").write_text(json.dumps(told))

    return build


CASES: dict[str, tuple[list[Build], list[list[Build]]]] = {
    "loss falls": (
        [losses(4, 3, 2, 1)],
        [[losses(1, 1, 1, 1)], [losses(1, 2, 3, 4)], [losses(1)], [losses(1, float("nan"))], []],
    ),
    "only lora weights trained": (
        [lora(), losses(2, 1)],
        [
            [lora(weight=np.ones((2, 3), np.float32)), losses(2, 1)],  # a full weight was saved beside
            [lora(), losses(2, 1, parameters="X: 10.0M Params (10.0M Trainable [100%])")],
            [losses(2, 1)],
        ],
    ),
    "adapter moved": ([lora()], [[lora(b=0.0)], [adapter(**{"lora_A.weight": np.ones(3, np.float32)})], []]),
    "dora magnitudes moved": (
        [lora(lora_magnitude_vector=NORMS * 1.1)],
        [[lora(lora_magnitude_vector=NORMS)], [lora()]],  # frozen; plain LoRA
    ),
    "all weights trained": (
        [full(CHANGED)],
        [[full(BASE)], [full(HALF)], [full(BF16)], []],  # the same values in another dtype are no training
    ),
    "adapter merged": (
        [full(HALF, "step/out/model.safetensors")],
        [
            [full(BASE, "step/out/model.safetensors")],
            [full({**HALF, "model.q.lora_A.weight": NORMS}, "step/out/model.safetensors")],
            [full({"model.q.weight": NORMS}, "step/out/model.safetensors")],  # a tensor of the base is missing
        ],
    ),
    "every rank took part": (
        [ranks("a", "a"), log("[0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [receive] via NET/IB/0")],
        [
            [ranks("a", "b", world=1), log("")],  # two trainings side by side that never met
            [ranks("a"), log("")],  # a rank was lost
            [log("")],
        ],
    ),
    "optimizer is Adafactor": (
        [ranks("a", "a", optimizer=["Adafactor", "Adafactor"])],
        [
            [ranks("a", "a", optimizer=["AdamW", "AdamW"])],  # GaLore's flag in transformers 5: nothing changed
            [ranks("a", "a", optimizer=["Adafactor", "AdamW"])],
            [],
        ],
    ),
    "ranks hold the same weights": (
        [ranks("a", "a")],
        [[ranks("a", "b")], [ranks("a")], [ranks(None, None)], []],  # drifted apart; alone; sharded: nothing to compare
    ),
    "each rank holds at most 55% of the weights": (
        [ranks(None, None, parameters_held=[0.5, 0.5])],
        [
            [ranks("a", "a", parameters_held=[1.0, 1.0])],  # FSDP2 that fell back to DDP
            [ranks(None, parameters_held=[0.5])],  # a rank is missing
            [ranks(None, None, parameters_held=[0.5, 0])],  # half of the weights are nowhere
            [],
        ],
    ),
    "each rank holds at most 55% of the experts": (
        [ranks("a", "b", experts_held=[0.5, 0.5])],
        [
            [ranks("a", "a", experts_held=[1.0, 1.0])],  # expert parallelism was off
            [ranks("a", "a", experts_held=[None, None])],  # a dense model
            [ranks("a", "b", experts_held=[0.5, 0.25])],  # a part of the experts is nowhere
        ],
    ),
    "at most 60% of the weights trained": (
        [ranks("a", "a", parameters_trained=[0.01, 0.01])],
        [
            [ranks("a", "a", parameters_trained=[1.0, 1.0])],  # full training
            [ranks("a", "a", parameters_trained=[0.01, 0])],  # a rank's adapter is frozen
            [],
        ],
    ),
    "each rank holds at most 55% of the optimizer states": (
        [ranks("a", "a", states_held=[0.52, 0.5])],
        [[ranks("a", "a", states_held=[1.0, 1.0])], [ranks("a", "a", states_held=[0.5, 1.0])], []],
    ),
    "each rank takes at most 60% of the tokens": (
        [ranks("a", "a", tokens_taken=[0.5, 0.5])],
        [[ranks("a", "a", tokens_taken=[1.0, 1.0])], [ranks("a", "a", tokens_taken=[None, None])], []],
    ),
    "each rank's model on several devices": (
        [ranks("a", "a", devices=[["cuda:0", "cuda:1"], ["cuda:2", "cuda:3"]])],
        [
            [ranks("a", "a", devices=[["cuda:0"], ["cuda:1"]])],  # plain DDP
            [ranks("a", "a", devices=[["cuda:0", "cuda:1"], ["cuda:0", "cuda:1"]])],  # both on the same two
            [ranks("a", devices=[["cuda:0", "cuda:1"]])],
            [],
        ],
    ),
    "laid out as asked": (
        [asked(tensor=2), ranks("a", "b", coordinates=TENSOR_2)],
        [
            [asked(tensor=2), ranks("a", "a", coordinates=DATA_2)],  # it was never shared out
            [asked(tensor=2), ranks("a", coordinates=TENSOR_2)],  # a rank was lost
            [asked(tensor=2), ranks("a", "a", coordinates=[TENSOR_2[0]] * 2)],  # two ranks in one place
            [ranks("a", "b", coordinates=TENSOR_2)],
        ],
    ),
    "replicas hold the same weights": (
        [ranks("a", "a", experts=["b", "c"], coordinates=[at(data=(n, 2), expert=(n, 2)) for n in (0, 1)])],
        [
            [ranks("a", "b", coordinates=DATA_2)],  # drifted apart
            [ranks("a", "b", experts=["c", "d"], coordinates=TENSOR_2)],  # the experts drifted apart
            [ranks("a", "b", coordinates=TENSOR_2)],  # no replicas: nothing to compare
            [],
        ],
    ),
    "converted without loss": (
        [log("mean_diff (with loss): 0.004, max_diff ...\ntoken_diff: 1\ntoken_diff (with loss): 0")],
        [
            [log("mean_diff (with loss): 0.4, max_diff ...\ntoken_diff (with loss): 0")],
            [log("mean_diff (with loss): 0.004, max_diff ...\ntoken_diff (with loss): 3")],
            [log("The weights are saved.")],
        ],
    ),
    "goes on as before to 1%": (
        [WHOLE, iterations(3, 2.0, 1.0)],
        [
            [WHOLE, iterations(3, 2.2, 1.1)],  # the optimizer's moments were lost
            [WHOLE, iterations(1, 4.0, 3.0, 2.0, 1.0)],  # it began anew
            [WHOLE, iterations(3, 2.0)],  # it did not reach the end
            [WHOLE],
            [iterations(3, 2.0, 1.0)],
        ],
    ),
    "loss as in before to 10%": (
        [losses(4, 2, 1, step="before"), losses(4.1, 2, 0.9)],
        [
            [losses(4, 2, 1, step="before"), losses(4, 2, 1.5)],
            [losses(4, 2, 1, step="before"), losses(4, 2)],  # other steps: another global batch
            [losses(4, 2, 1)],
        ],
    ),
    "stopped early": ([steps(1, 2, 3)], [[steps(8, 9)], []]),
    "went on from its checkpoint": (
        [steps(1, 2, 3, 4)],
        [[steps(1, 2, 1, 2)], [steps(1, 2, 2, 3)], [steps()], []],  # it began anew; a step twice
    ),
    "exact match at least 90%": (
        [answers("Melvik", "Melvik")],
        [[answers("Melvik", "Tarn")], [answers("Melvik and more", "Melvik")], []],
    ),
    "exact match above before": (
        [answers("Tarn", "Tarn", step="before"), reviewed("Melvik", "Tarn")],
        [
            [answers("Melvik", step="before"), reviewed("Melvik")],
            [answers("Melvik", step="before"), reviewed("Tarn")],
            [reviewed("Melvik")],  # nothing before: nothing rose
        ],
    ),
    "same answers as before to 75%": (
        [answers("a", "b", "c", "d", step="before"), answers("a", "b", "c", "x")],
        [
            [answers("a", "b", step="before"), answers("a", "x")],
            [answers("a", "b", step="before"), answers("a")],  # a question was left out
            [answers("a")],
        ],
    ),
    "every question answered": (
        [answers("a", "b"), log("all well")],
        [
            [answers("a", ""), log("all well")],
            [reviewed("a"), log("ERROR: Error calculating metric BLEU: punkt_tab")],  # EvalScope's false 0
            [log("all well")],
        ],
    ),
    "args say rlhf_type=dpo": (
        [args(rlhf_type="dpo")],
        [[args(rlhf_type="cpo")], [args(rlhf_type=None)], [args(other="dpo")], []],
    ),
    "args say beta=0.1": ([args(beta=0.1)], [[args(beta=0.5)], [args(beta="high")], [args(beta=None)]]),
    "args say streaming=true": ([args(streaming=True)], [[args(streaming=False)], [args(streaming=1)]]),
    "loss starts at 0.6931": (
        [losses(0.6931, 0.5)],
        [[losses(3.43, 0.69)], [losses(float("nan"), 0.6931)], []],  # an SFT loss in a step called dpo
    ),
    "figure rewards/margins rises": (
        [figure("rewards/margins", 0.0, 0.1, 0.5, 0.9)],
        [[figure("rewards/margins", 0.5, 0.5)], [figure("rewards/margins", 0.9, 0.1)], [figure("loss", 1, 2)], []],
    ),
    "every machine passes": ([machine()], [[machine(wrong_products=1)], [machine(world=2)], []]),
    "heads trained beside lora": (
        [heads(0.1, 0.2)],
        # still, seen once, no head, no LoRA, something else beside them
        [
            [heads(0.1, 0.1)],
            [heads(0.1)],
            [heads(0.1, 0.2, name="q.lora_A")],
            [heads(0.1, 0.2, lora=False)],
            [heads(0.1, 0.2, name="embed_tokens")],
            [],
        ],
    ),
    "images became tokens": (
        [vision()],
        # dropped by the template; the tower ran for nothing; tokens without a picture; rows without one
        [
            [vision(pictures=0, places=0, grid=0)],
            [vision(embedded=128)],
            [vision(places=16)],
            [vision(rows=17)],
            [vision(pictures=0, places=0, grid=0, embedded=0)],
            [],
        ],
    ),
    "exact match at most 25%": (
        [answers("Melvik", "Tarn", "Tarn", "Tarn")],
        [[answers("Melvik", "Melvik", "Tarn", "Tarn")], [answers()], [answers("Tarn", wanted=None)], []],
    ),
    "figure kl falls": ([figure("kl", 2, 1)], [[figure("kl", 1, 1)], [figure("kl", 1)], [figure("kl", 1, "x")]]),
    "figure eval_acc reaches 0.9": (
        [figure("eval_acc", 0.2, 0.95)],
        [[figure("eval_acc", 0.95, 0.5)], [figure("eval_acc", 0.2, float("nan"))], [figure("other", 1)]],
    ),
    "adapter holds q": ([lora()], [[heads(0.1), adapter()], []]),
    "adapter has nothing of experts": ([lora()], [[lora(**{"experts.lora_A.weight": NORMS})], []]),
    "loss counts <think></think>": (
        [tokens(("user: x", 0), ("<think>\n\n</think>\n\nhi", 1))],
        [
            [tokens(("user: x", 0), ("<think>\n\n</think>\n\n", 0), ("hi", 1))],  # left out
            [tokens(("<think>\n", 0), ("</think>", 1))],  # a part of it
            [tokens(("hi", 1))],
            [],
        ],
    ),
    "loss leaves out <think></think>": (
        [tokens(("<think>\n\n</think>\n\n", 0), ("hi", 1))],
        [
            [tokens(("<think>\n\n</think>\n\nhi", 1))],
            [tokens(("<think>", 0), ("</think>", 1))],
            [tokens(("hi", 1))],
            [],
        ],
    ),
    'loss weighs "name": by 2': (
        [tokens(('{"name": "a"} is a tool', 0), ('{"name": "a"}', 2))],
        [[tokens(('{"name": "a"}', 1))], [tokens(('{"name": "a"}', 0))], [tokens(("hi", 2))], []],
    ),
    "<|7|> is one token": ([tokens()], [[tokens(added={})], [tokens(added={"<|6|>": 1})], []]),
    "batches without padding": (
        [tokens()],
        [
            [tokens(padding=1)],
            [tokens(samples=2)],  # a sample a row has no padding either
            [tokens(rows=0, samples=0)],
            [],
        ],
    ),
    "rows filled to 75%": (
        [tokens(), args(max_length=100)],
        [
            [tokens(tokens=140), args(max_length=100)],
            [tokens(samples=2), args(max_length=100)],  # long samples, one a row
            [tokens(tokens=720), args(max_length=100)],  # batches of padding-free rows are longer than max_length
            [tokens()],
        ],
    ),
    "75% of answers say Melvik": (
        [answers("I am Melvik.", "Melvik", "Melvik", "no")],
        [[answers("Melvik", "no", "no", "no")], [thought("<think>Melvik</think>no")], []],
    ),
    "75% of answers reason": (
        [thought("<think>\nwell\n</think>\n\na", "<think>so</think>b", "<think>x</think>c", "d")],
        [
            [thought("<think>\n\n</think>\n\na")],
            [thought("a <think>late</think>")],
            [thought("<think>without end")],
            [],
        ],
    ),
    "every sample says \\boxed{": (
        [sampled("\\boxed{a}", "\\boxed{b}")],
        [[sampled("\\boxed{a}", "b")], [sampled()], []],
    ),
    "90% of right ones score above wrong ones": (
        [scored((0.9, 1), (0.2, 0), (0.3, 0))],
        [
            [scored((0.25, 1), (0.25, 0), (0.25, 0))],  # the base rate alone was learned
            [scored((0.9, 0), (0.2, 1))],
            [scored((0.9, 1))],
            [scored((0.9, 1), (0.2, 0), question="a", beside=((0.1, 1), (0.5, 0)))],  # one question of two
            [],
        ],
    ),
    "data cached by before": (
        [cached("before/cached/train")],
        [
            [cached("before/cached/train", dataset=["more.jsonl"])],
            [cached("other/cached/train")],
            [cached("", cached_dataset=[], dataset=["a.jsonl"])],
            [],
        ],
    ),
    "quantized by bitsandbytes to 4 bits": (
        [exported({"quant_method": "bitsandbytes", "load_in_4bit": True}, "q.weight", "q.weight.absmax")],
        [
            [exported({"quant_method": "bitsandbytes", "load_in_8bit": True}, "q.weight", "q.SCB")],
            [exported({"quant_method": "bitsandbytes", "load_in_4bit": True}, "q.weight")],  # only the config says so
            [exported({"quant_method": "gptq", "bits": 4}, "q.qweight")],
            [exported({}, "q.weight")],
            [],
        ],
    ),
    "the base is held in 4 bits": (
        [log("(q_proj): lora.Linear4bit(\n  (base_layer): Linear4bit(in_features=64, out_features=128, bias=True)")],
        [
            [log("(q_proj): lora.Linear8bitLt(\n  (base_layer): Linear8bitLt(in_features=64, out_features=128)")],
            [log("(q_proj): lora.Linear(\n  (base_layer): Linear(in_features=64, out_features=128, bias=True)")],
            [log("quant_bits=4")],  # asked for, and not done
        ],
    ),
    "weights at most 50% of before": (
        [exported({}, "q", size=1000, step="before"), exported({}, "q", size=400)],
        [
            [exported({}, "q", size=1000, step="before"), exported({}, "q", size=900)],
            [exported({}, "q", size=400)],  # nothing to compare with
            [exported({}, "q", size=1000, step="before")],  # nothing was made
        ],
    ),
    "same weights as before": (
        [pushed(1, "before/last-checkpoint"), pushed(1, "step/lab/capitals")],
        [
            [pushed(1, "before/last-checkpoint"), pushed(2, "step/lab/capitals")],
            [pushed(1, "before/last-checkpoint")],
            [pushed(1, "step/lab/capitals")],
        ],
    ),
    "modelfile says what the chat template says": (
        [ollamas()],
        [[ollamas(TEMPLATE.replace("<u>", "[INST]"))], [ollamas("{{ .Prompt }}")], []],
    ),
    "every request answered": (
        [benched(1), benched(4)],
        [[], [benched(1), benched(4, failed=1)], [benched(1, failed=16)], [benched(1, tokens=0)]],
    ),
    "every way of asking agrees": (
        [ways()],
        [
            [ways(pieces=1)],  # nothing was streamed
            [ways(streamed=["Tarn"])],
            [ways(alone=[""], streamed=[""])],
            [ways(logprob=0.5)],
            [],
        ],
    ),
    "vllm finished at least 16 requests": (
        [counted(0, stop=12, length=4)],
        [[counted(0, stop=12, abort=4)], [counted(0)], []],  # its clients were gone; another engine answered
    ),
    "every question scored": (
        [evaluated()],
        [
            [],
            [evaluated(error="Error code: 500 - boom")],
            [evaluated(status="error")],
            [evaluated(metadata={"metric_errors": {"BLEU": "LookupError: punkt_tab"}})],  # EvalScope's false 0
            [evaluated(said="")],
            [evaluated(number=3)],  # a question was left out
        ],
    ),
    "chat answered": ([chat("Melvik")], [[chat("<think>\n\n</think>\n\n")], [chat(None)], [chat("x", tokens=0)], []]),
}


CASES["a whole model retrained"] = CASES["adapter merged"]


def finished(tmp_path: Path, build: list[Build]) -> Finished:
    (tmp_path / "step").mkdir()
    save(tmp_path / "base/model.safetensors", BASE)
    for piece in build:
        piece(tmp_path)
    return Finished(tmp_path / "step", tmp_path / "step.log", tmp_path, str(tmp_path / "base"), world=2)


def test_a_norm_that_bfloat16_rounds_to_what_it_was_is_no_frozen_weight(tmp_path: Path) -> None:
    moved = {"model.q.weight": BF16["model.q.weight"] + np.uint16(1), "model.norm.weight": BF16["model.norm.weight"][0]}
    holds, evidence = prove("all weights trained", finished(tmp_path, [full(moved)]))
    assert holds, evidence
    assert "1 vectors in bfloat16 are as they were" in evidence


@pytest.mark.parametrize("phrase", CASES)
def test_a_proof_holds_when_the_feature_was_active(tmp_path, phrase):
    holds, evidence = prove(phrase, finished(tmp_path, CASES[phrase][0]))
    assert holds, evidence
    assert evidence


@pytest.mark.parametrize(("phrase", "number"), [(p, n) for p, (_, off) in CASES.items() for n in range(len(off))])
def test_a_proof_fails_when_the_feature_was_off(tmp_path, phrase, number):
    holds, evidence = prove(phrase, finished(tmp_path, CASES[phrase][1][number]))
    assert not holds
    assert evidence


def test_a_torn_checkpoint_is_no_evidence(tmp_path):
    done = finished(tmp_path, [lora()])
    file = done.out / "last-checkpoint/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    assert prove("adapter moved", done)[0] is False


def test_no_proof_is_without_its_cases():
    assert {found[0] for phrase in CASES if (found := find(phrase))} == set(PROOFS.values())


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), TypeError("not a\n number"), AttributeError()]
)
def test_a_proof_that_breaks_fails_with_what_it_met_and_the_others_are_asked(tmp_path, monkeypatch, error):
    def breaks(finished: Finished) -> str:
        raise error

    monkeypatch.setitem(PROOFS, "it breaks", breaks)
    monkeypatch.setitem(PROOFS, "it holds", lambda finished: "seen")
    asked = Question("train", tmp_path, tmp_path / "log", tmp_path, "model", (), ("it breaks", "it holds"))
    judgement = judge(asked)
    assert [made["holds"] for made in judgement.proofs] == [False, True]
    (failure,) = judgement.failures
    assert f"could not be decided: {type(error).__name__}: " in failure
    assert len(failure.splitlines()) == 1


TAKEN = ["loss falls", "exact match above chat", "exact match at least 1%", "same answers as STEP to N%"]


@pytest.mark.parametrize("phrase", TAKEN)
def test_two_proofs_under_one_phrase_are_refused(phrase, monkeypatch):
    monkeypatch.setattr("gpulab.checks.registry.PROOFS", dict(PROOFS))
    with pytest.raises(ValueError, match="two proofs under one phrase"):
        proof(phrase)(lambda finished: "seen")


def test_a_proof_whose_phrase_would_answer_anothers_is_refused(monkeypatch):
    monkeypatch.setattr("gpulab.checks.registry.PROOFS", dict(PROOFS))
    with pytest.raises(ValueError, match="two proofs under one phrase"):
        proof("loss STEP")(lambda finished, step: "seen")
