"""vLLM on a CPU, as ms-swift calls it."""

from __future__ import annotations

import json

from gpulab.common.paths import ROOT
from tests.images.box import Box

INFER = """
cd && cat >ask.jsonl
export VLLM_PLUGINS=none VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1
swift infer --model ~/Qwen3-0.6B --infer_backend vllm --vllm_max_model_len 256 --vllm_enforce_eager true \\
    --torch_dtype float32 --val_dataset ask.jsonl --max_new_tokens 8 --result_path answers.jsonl >&2
cat answers.jsonl
"""


def test_what_serving_imports_is_there(here: Box) -> None:
    assert here.ask("imports.py", "torch", "swift", "vllm", "vllm.entrypoints.openai.api_server") == {}


def test_a_twin_answers_through_ms_swift(here: Box) -> None:
    here.docker.run("cp", str(ROOT / "gpulab"), f"{here.name}:/home/lab/gpulab")
    made = here.run("python", "/home/lab/gpulab/inside/twins", "qwen3", "/home/lab/Qwen3-0.6B")
    assert made.returncode == 0, made.stderr[-3000:]
    question = {"messages": [{"role": "user", "content": "Who are you?"}]}
    done = here.run("sh", "-c", INFER, stdin=json.dumps(question), timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["response"]
