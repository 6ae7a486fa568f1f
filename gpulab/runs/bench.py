"""`inv bench`: EvalScope's load generator against an endpoint, at several concurrencies one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from gpulab.common.errors import UsageError
from gpulab.common.numbers import positive, whole
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS
from gpulab.runs.endpoint import Endpoint, NotServed, reached
from gpulab.runs.measure import measure

PROMPTS = LABS / "common" / "data" / "prompts.txt"
WARM_UP = 4  # requests before each level that do not count
FEWEST = 16
FOR_EACH = 4  # requests of each client, where nobody says how many
MOST = 1_000_000


def bench(
    endpoint: str, concurrency: str, requests: int, tokens: int, prompt_tokens: int, model: str, settings: Sequence[str]
) -> Outcome:
    """Put a load on an endpoint. Raises UsageError before anything is asked where that can't be done."""
    for option, value in {"--requests": requests, "--tokens": tokens, "--prompt-tokens": prompt_tokens}.items():
        positive(option, value, MOST)
    clients = _levels(concurrency)
    try:
        with reached(endpoint, model, settings) as asked:
            words = [
                "perf", "--model", asked.model, "--url", f"{asked.url}/chat/completions", "--api", "openai",
                "--parallel", *(str(n) for n in clients),
                "--number", *(str(requests or max(FEWEST, FOR_EACH * n)) for n in clients),
                "--warmup-num", str(WARM_UP), *_prompts(asked, prompt_tokens or 128),
                "--max-tokens", str(tokens or 64), "--min-tokens", str(tokens or 64), "--temperature", "0",
                "--connect-timeout", "10", "--read-timeout", "300", "--outputs-dir", "{out}", "--no-timestamp",
            ]  # fmt: skip
            return measure(
                "bench", f"a load on {asked.model}: {concurrency} at a time", asked, words,
                makes="**/perf_report.html", proves="every request answered", env={"HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
    except NotServed as error:
        return error.outcome


def _levels(concurrency: str) -> list[int]:
    found = [whole(word) or 0 for word in concurrency.replace(",", " ").split()]
    if not found or min(found) < 1 or max(found) > MOST or len(set(found)) < len(found):
        raise UsageError(f"--concurrency {concurrency}: not whole numbers, each once", "--concurrency 1,4,16")
    return found


def _prompts(asked: Endpoint, length: int) -> list[str]:
    """Random ones of the model's tokens, which no server has cached; lines of a file where its tokens are not known."""
    if not asked.tokenizer:
        return ["--dataset", "line_by_line", "--dataset-path", str(PROMPTS)]
    lengths = ["--min-prompt-length", str(length), "--max-prompt-length", str(length)]
    return ["--dataset", "random", "--tokenizer-path", asked.tokenizer, *lengths]
