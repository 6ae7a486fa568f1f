"""What `inv eval` and `inv bench` ask: a service by name, an address, or a run that is served for so long."""

from __future__ import annotations

import json
import os
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from gpulab.common import redact
from gpulab.common.errors import UsageError, nearest
from gpulab.common.outcome import Outcome
from gpulab.inside import ready
from gpulab.plan.service_file import KEY
from gpulab.records.service import ServiceRecord, all_services

HERE = ("127.0.0.1", "localhost", "::1")
PATIENCE = 60  # seconds for the first completion: a server may have been idle for long


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible API, as whom it is asked, what it is called in records, whether it is on this machine."""

    url: str
    model: str
    name: str
    here: bool
    about: str
    tokenizer: str = ""
    """The model's folder on this machine, where it has one."""


class NotServed(Exception):
    """A run could not be served: the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


@contextmanager
def reached(given: str, model: str = "", settings: Sequence[str] = ()) -> Iterator[Endpoint]:
    """The endpoint, after it has answered. A run is served until this is left, with these flags of `swift deploy`.

    Raises UsageError where there is none or it does not answer, NotServed where a run's server does not start.
    """
    services = {service.name: service for service in all_services()}
    if given.startswith(("http://", "https://")) or given in services:
        if settings:
            raise UsageError("--set is for a run that is served: this server runs already", "leave it out")
        found = _of_service(services[given], model) if given in services else _of_url(given, model)
        if not ready.answers(found.url, found.model, timeout=PATIENCE):
            raise UsageError(f"{found.url} completes no chat as {found.model}", _cure(services.get(given)))
        yield found
        return
    with _served(given, model, settings) as found:
        yield found


@contextmanager
def _served(given: str, model: str, settings: Sequence[str]) -> Iterator[Endpoint]:
    from gpulab.runs.serve import serve
    from gpulab.runs.serve_request import ServeRequest
    from gpulab.runs.serve_target import target
    from gpulab.runs.served import stop

    name = f"{target(given).name}-measured"
    outcome = serve(ServeRequest(model=given, name=name, settings=settings))
    if outcome.failures:
        raise NotServed(outcome)
    try:
        found = _of_service(next(s for s in all_services() if s.name == outcome.data["name"]), model)
        yield replace(found, name=target(given).name)
    finally:
        stop(outcome.data["name"], every=False)


def _of_service(service: ServiceRecord, model: str) -> Endpoint:
    names = [service.name, *service.adapters]
    if model and model not in names:
        raise UsageError(f"{service.name} serves no {model!r}", nearest(model, names))
    about = ", ".join([service.model, *service.adapters])
    folder = service.model if Path(service.model).is_dir() else ""
    called = model or service.name
    return Endpoint(service.url, called, called, True, f"{about} by {service.backend}", folder)


def _of_url(given: str, model: str) -> Endpoint:
    parts = urlsplit(given)
    if not parts.hostname or parts.username or parts.query:
        raise UsageError(f"{redact.text(given)} is no address of an API", "http://127.0.0.1:8000/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    url = f"{parts.scheme}://{parts.netloc}{path}"
    model = model or _only_model(url)
    name = f"{parts.hostname}-{model.rpartition('/')[2]}"
    return Endpoint(url, model, name, parts.hostname in HERE, f"{model} at {url}")


def _only_model(url: str) -> str:
    """The one model that a server says it has. Raises UsageError where it says nothing, or several."""
    try:
        names = ready.models(url)
    except urllib.error.HTTPError as error:
        cure = f"export {KEY}=..." if error.code in (401, 403) else "name one: --model NAME"
        raise UsageError(f"{url}/models answers {error.code}", cure) from None
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"nothing answers at {url}: {error}", "start the server, or name another address") from None
    if len(names) != 1:
        raise UsageError(f"{url} has {len(names)} models", f"--model with one of them: {', '.join(names[:8])}")
    return names[0]


def _cure(service: ServiceRecord | None) -> str:
    if service and service.key and not os.environ.get(KEY):
        return f"it wants the key that it was started with: export {KEY}=..."
    return f"./inv served; its log: {service.log}" if service else f"start it, or export {KEY}=... where it wants a key"
