"""A server that outlives its `inv`: a session of its own, found again by the mark in its processes' environment; or
containers (service_containers.py)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import psutil

from gpulab.common import overwrite
from gpulab.common.ports import can_listen
from gpulab.common.processes import MARK, belonging, stop
from gpulab.engines import service_containers
from gpulab.inside import ready
from gpulab.records.service import ServiceRecord

LOCAL = "local"
GRACE = 20.0  # seconds in which requests may end that have begun


def start(service: ServiceRecord, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it. It is on record before, so that nothing runs that nobody knows of."""
    service.write()
    with service.log.open("wb") as log:
        return subprocess.Popen(
            service.argv, env={**environment, MARK: str(service.folder)}, cwd=service.folder,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def processes(service: ServiceRecord) -> list[psutil.Process]:
    """Those of it that run."""
    return [p for p in belonging(service.folder) if p.status() != psutil.STATUS_ZOMBIE]


def state(service: ServiceRecord, *, has_key: bool) -> str:
    """`ready` when it completes a chat, `up` when it can't be asked for want of its key, `silent`, or `dead`."""
    if service.engine != LOCAL:
        return service_containers.state(service, has_key=has_key)
    if not processes(service):
        return "dead"
    if service.key and not has_key:
        return "silent" if can_listen(service.port) else "up"
    return "ready" if ready.answers(service.url, service.name, timeout=5) else "silent"


def end(service: ServiceRecord) -> int:
    """Let it end what it has begun, then end it; how many processes, or containers, there were. Raises UsageError where
    its hosts do not answer."""
    if service.engine != LOCAL:
        count = service_containers.end(service)
        service_containers.remove_files(service)
        stop(processes(service))  # the way there
        overwrite.secrets_in(service.log)
        service.forget()
        return count
    found = processes(service)
    stop(found, grace=GRACE)
    overwrite.secrets_in(service.log)
    service.forget()
    return len(found)


def is_up(service: ServiceRecord) -> bool:
    """Whether its name is taken: of containers nobody is asked, they are there until they are stopped."""
    return service.engine != LOCAL or bool(processes(service))
