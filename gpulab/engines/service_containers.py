"""A service of containers: brought up by docker compose, here or on hosts, where it goes on by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import yaml

from gpulab.common.docker import RUN, Docker, remove_run
from gpulab.common.errors import UsageError
from gpulab.common.files import write_atomically
from gpulab.common.ports import can_listen
from gpulab.common.processes import MARK, belonging, stop
from gpulab.hosts.engines import engine_of
from gpulab.hosts.inventory import Host, load_hosts
from gpulab.hosts.ssh import forward
from gpulab.inside import ready
from gpulab.plan.container import helper_words
from gpulab.plan.service_file import GRACE
from gpulab.records.service import ServiceRecord

LINES = "500"  # of each container's log, kept when the service ends


def up(service: ServiceRecord, files: Mapping[str, Any]) -> None:
    """Write what docker compose reads, by host, and have it start that. Raises UsageError with what it complained
    about."""
    engines = dockers(service)
    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(lambda host: _up(service, engines[host], host, files[host]), files))


def _up(service: ServiceRecord, docker: Docker, host: str, file: Any) -> None:
    path = service.folder / (f"compose-{host}.yml" if host else "compose.yml")
    write_atomically(path, yaml.safe_dump(file, sort_keys=False, width=120), mode=0o600)
    docker.run("compose", "--file", str(path), "up", "--detach", "--quiet-pull", timeout=900)


def connect(service: ServiceRecord) -> None:
    """Have the port of its host's loopback on this machine's; nothing happens where that is so already."""
    host = next(iter(hosts_of(service)), None)
    if not host or host.local or service.public or belonging(service.folder) or not can_listen(service.port):
        return
    with (service.folder / "logs" / "tunnel.log").open("wb") as log:
        subprocess.Popen(
            forward(host, service.port), env={**os.environ, MARK: str(service.folder)},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def hosts_of(service: ServiceRecord) -> list[Host]:
    """The hosts that it is on; none where that is this machine."""
    return load_hosts(service.inventory, ",".join(service.hosts)) if service.hosts else []


def dockers(service: ServiceRecord) -> dict[str, Docker]:
    """The engines that it is on, by host."""
    return {host.name: engine_of(host) for host in hosts_of(service)} or {"": Docker()}


def containers(docker: Docker, service: ServiceRecord) -> list[str]:
    """Its containers on an engine. Raises UsageError where that does not answer."""
    mine = [f"label={RUN}={service.folder}", f"label=com.docker.compose.project={service.project}"]
    words = [word for label in mine for word in ("--filter", label)]
    return docker.run("ps", "--all", "--quiet", *words).split()


def ended(service: ServiceRecord) -> str | None:
    """Why it will not come up, in a few words: one of its containers has ended already; None while none has."""
    for line in _inspected(service, "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}} {{.Name}}"):
        said = line.split()
        if said and (said[0] in ("exited", "dead") or int(said[1]) > 0):
            return f"ended with exit {said[2]} (container {said[3].lstrip('/')})"
    return None


def starting(service: ServiceRecord) -> bool:
    """Whether one of its containers has not passed its health check yet."""
    return "starting" in _inspected(service, "{{if .State.Health}}{{.State.Health.Status}}{{end}}")


def _inspected(service: ServiceRecord, shown: str) -> Iterator[str]:
    """What each of its containers is, in a form of docker inspect. Raises UsageError, see `containers`."""
    for docker in dockers(service).values():
        for one in containers(docker, service):
            yield docker.try_run("inspect", "--format", shown, one).stdout.strip()


def state(service: ServiceRecord, *, has_key: bool) -> str:
    """`ready`, `up`, `silent` or `dead`, as of a service of processes; `unreachable` where its engine does not
    answer."""
    connect(service)
    if not (service.key and not has_key) and ready.answers(service.url, service.name, timeout=5):
        return "ready"
    try:
        running = "running" in [*_inspected(service, "{{.State.Status}}")]  # every engine is asked
    except UsageError:
        return "unreachable"
    if not running:
        return "dead"
    return "up" if service.key and not has_key else "silent"


def keep_log(service: ServiceRecord) -> None:
    """Have here what its containers said last."""
    said = []
    for host, docker in dockers(service).items():
        with suppress(UsageError):
            for one in containers(docker, service):
                name = docker.try_run("inspect", "--format", "{{.Name}}", one).stdout.strip().lstrip("/")
                done = docker.try_run("logs", "--tail", LINES, one)
                said.append(f"==> {name}{f' on {host}' if host else ''}\n{done.stdout}{done.stderr}")
    service.log.write_text("\n".join(said), encoding="utf-8")


def end(service: ServiceRecord) -> int:
    """Let it end what it has begun, then remove it, its files and its claim; how many containers there were. Raises
    UsageError where a host does not answer: it is on record until it is gone."""
    keep_log(service)
    engines = dockers(service)
    with ThreadPoolExecutor(len(engines)) as pool:
        return sum(pool.map(lambda docker: _end_on(docker, service), engines.values()))


def _end_on(docker: Docker, service: ServiceRecord) -> int:
    found = containers(docker, service)
    if found:
        docker.try_run("stop", "--time", str(GRACE), *found, timeout=GRACE + 40)
    remove_run(docker, service.folder)
    return len(found)


def remove_files(service: ServiceRecord) -> None:
    """Remove what was brought to the hosts for it."""
    if not service.files:
        return
    docker, at = next(iter(dockers(service).values())), service.files.rpartition("/")[0]
    words = helper_words(service.image, service.user, "sh", ["--volume", f"{at}:{at}"])
    docker.try_run("run", *words, "-c", 'rm -rf -- "$1"', "_", service.files)


def give_up(service: ServiceRecord) -> None:
    """Remove what was begun of one that can't be brought up. Where its engine does not answer it stays on record."""
    try:
        end(service)
    except UsageError:
        return
    stop(belonging(service.folder))
    service.forget()
