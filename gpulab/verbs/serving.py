"""The verbs that serve models."""

from __future__ import annotations

from typing import Any

from gpulab.common.outcome import Outcome
from gpulab.verbs.options import HOSTS, HUB, LIMIT, SERVER_SETTINGS, Option, first, flag, number, repeated
from gpulab.verbs.verb import verb


@verb(
    first("model", "a folder (a model, a checkpoint), a run or a lab (what its last run made), or ORG/NAME of a hub"),
    Option("backend", "transformers, vllm, sglang or lmdeploy", default="transformers"),
    repeated("adapter", "NAME=FOLDER or NAME=RUN: served beside the model under that name"),
    number("port", "the port; usual is the first free one from 8000 on"),
    Option("name", "what clients call it; usual is the model's or the lab's name"),
    flag("public", "also for other machines; needs a key in GPULAB_API_KEY"),
    Option("engine", "local (a process in the stack's venv) or docker (its image: it comes back after a reboot)"),
    HOSTS.called("in a container on a host of this inventory: gpus.ini"),
    LIMIT,
    number("gpus", "so many GPUs of each host; usual is all that are there"),
    number("replicas", "so many servers of it behind nginx; with --hosts one on each"),
    number("nodes", "one model over the GPUs of so many hosts, by vLLM"),
    SERVER_SETTINGS,
    number("within", "seconds in which it has to answer", default=600),
)
def serve(**options: Any) -> Outcome:
    """Serve a model as an OpenAI-compatible API that stays up.

    Ready when it has completed a chat; it goes on when the terminal closes.
    """
    from gpulab.runs.serve import serve
    from gpulab.runs.serve_request import ServeRequest

    return serve(ServeRequest(**options))


@verb()
def served() -> Outcome:
    """List what is served, and whether it answers."""
    from gpulab.runs.served import served

    return served()


@verb(Option("name", "its name, as in inv served", by_place=True), flag("all", "all of them", to="every"))
def stop(**options: Any) -> Outcome:
    """Stop what is served; requests that have begun may end."""
    from gpulab.runs.served import stop

    return stop(**options)


ENDPOINT = first("endpoint", "a name of inv served, an address (http://host:8000/v1), or a run (served for so long)")
MODEL = Option("model", "as which the server is asked; usual is its own name, or the only one it has")
SETTINGS = SERVER_SETTINGS.called("key=value: a flag of `swift deploy`, where a run is served")


@verb(
    ENDPOINT,
    Option("datasets", "choice,qa (this project's own, small), or EvalScope's: gsm8k,mmlu", default="choice,qa"),
    number("limit", "so many questions of each set's parts; usual is all"),
    MODEL,
    number("max_tokens", "the longest answer", default=512),
    HUB.called("where EvalScope's data sets come from: modelscope or hf"),
    SETTINGS,
)
def eval(**options: Any) -> Outcome:
    """Evaluate what is served, or a run, with EvalScope.

    Scores with their 95 % intervals, on record: inv runs, inv compare.
    """
    from gpulab.runs.evaluate import evaluate

    return evaluate(**options)


@verb(
    ENDPOINT,
    Option("concurrency", "so many requests at a time, one level after the other", default="1,4,16"),
    number("requests", "so many at each level; usual is 4 for each at a time, at least 16"),
    number("tokens", "length of each answer", default=64),
    number("prompt_tokens", "length of each prompt, where the model's folder is on this machine", default=128),
    MODEL,
    SETTINGS,
)
def bench(**options: Any) -> Outcome:
    """Put a load on what is served, or a run: throughput, times.

    Tokens/s, time to the first token and for each further one, percentiles.
    """
    from gpulab.runs.bench import bench

    return bench(**options)
