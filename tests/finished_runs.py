"""What a finished run leaves, piece by piece: proofs are fed with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.evaluated import benchmark, evaluation, vllm_benchmark

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


def benched_by_vllm(concurrency: int, **wrong: Any) -> Build:
    """A load test of vLLM's own."""
    return lambda run: vllm_benchmark(run / "step", concurrency, **wrong)


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


def ways(pieces: Sequence[int] = (2,), logprob: float = -0.1, **other: list[str]) -> Build:
    """What a client noted down of one question, asked in several ways."""
    said = {"answers": {"alone": ["Melvik"], "streamed": ["Melvik"], **other}, "pieces": list(pieces)}
    return lambda run: (run / "step/ways.json").write_text(json.dumps({**said, "logprobs": [[logprob]]})) and None


def rough(status: int = 400, crowd: dict[str, int] | None = None, **other: object) -> Build:
    """What rough clients were answered with: one that is refused, one that is not, one that left, two at once."""
    said = {
        "before": "Melvik", "refused": {"half a JSON": {"status": status, "seconds": 0.1}},
        "taken": {"null bytes": 200},
        "left": ["HTTP/1.1 200 OK"], "crowd": {"200": 2} if crowd is None else crowd, "crowd seconds": 0.1,
        "after": "Melvik",
    }  # fmt: skip
    return lambda run: (run / "step/rough.json").write_text(json.dumps({**said, **other})) and None


NORMS = np.linalg.norm(BASE["model.q.weight"], axis=1).astype(np.float32)
CHANGED = {name: value + 1 for name, value in BASE.items()}
HALF = {**BASE, "model.q.weight": BASE["model.q.weight"] + 1}
BF16 = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in BASE.items()}


def machine(world: int = 1, wrong_products: int = 0) -> Build:
    figures = {"matmul_tflops": 0.1, "memory_gbs": 10.0, "wrong_products": wrong_products}
    told = {"rank": 0, "world_size": world, "host": "a", "node_rank": 0, "device": "CPU", "figures": figures}

    def build(run: Path) -> None:
        (run / "step/machines").mkdir(parents=True, exist_ok=True)
        (run / "step/machines/0.json").write_text(json.dumps(told))

    return build
