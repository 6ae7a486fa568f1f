"""`inv served` and `inv stop`: what is on record as served, and its end."""

from __future__ import annotations

import os

from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.listing import listing
from gpulab.common.outcome import Outcome
from gpulab.common.paths import shown
from gpulab.engines import service as services
from gpulab.plan.service_file import KEY
from gpulab.records.service import all_services


def served() -> Outcome:
    """Every service on record, and whether it answers. One that died is a failure until it is stopped."""
    table = listing("name", "state", "url", "backend", "model", wraps="model")
    rows, failures = [], []
    for service in all_services():
        state = services.state(service, has_key=bool(os.environ.get(KEY)))
        rows.append({**service.model_dump(exclude={"argv"}), "url": service.url, "log": service.log, "state": state})
        place = f" on {', '.join(service.hosts)}" if service.hosts else ""
        model = ", ".join([service.model, *service.adapters])
        table.add_row(service.name, state, service.url, service.backend + place, model)
        if state == "dead":
            forget = f"./inv stop {service.name} forgets it"
            failures.append(Failure(f"{service.name} died, its log: {shown(service.log)}", forget))
        if state == "unreachable":
            look = f"./inv hosts --hosts {service.inventory}" if service.hosts else "docker info"
            failures.append(Failure(f"the engine of {service.name} does not answer", look))
    return Outcome(
        {"services": rows}, failures=failures, text=table if rows else "nothing is served: ./inv serve MODEL"
    )


def stop(name: str, *, every: bool) -> Outcome:
    """Stop one service, or all. Raises UsageError for an unknown one."""
    known = {service.name: service for service in all_services()}
    if not every and name not in known:
        raise UsageError(
            f"no service {name!r}" if name else "which service?",
            nearest(name, list(known)) if known else "./inv served",
        )
    ended = {each: services.end(known[each]) for each in (known if every else [name])}
    return Outcome({"stopped": ended}, text="\n".join(f"{each}: stopped" for each in ended) or "nothing was served")
