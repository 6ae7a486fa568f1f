"""A registry: one named by its address, or the one that an inventory's site has (the role `registry`)."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gpulab.common.diagnosis import diagnose
from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.common.ports import free_port
from gpulab.hosts.inventory import Host
from gpulab.hosts.ssh import complaint
from gpulab.hosts.ssh_route import ALIVE, options
from gpulab.images.streams import following

PORT = 5000  # the role's default
ADDRESS = re.compile(r"(?:localhost|[a-z0-9-]+(?=:)|[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?::\d+)?(?:/[a-z0-9._-]+)*")
REACHED_WITHIN = 12  # seconds
DONE = ("Pushed", "Layer already exists", "Mounted from", "Pull complete", "Already exists")


@dataclass(frozen=True)
class Registry:
    """One by its address, as docker names it."""

    address: str

    def push(self, docker: Docker, tag: str, watch: Callable[[str], None]) -> str:
        """Push an image that the engine has; its digest. Raises UsageError."""
        docker.run("tag", tag, f"{self.address}/{tag}")
        return self._do(docker, "push", tag, watch)

    def pull(self, docker: Docker, tag: str, watch: Callable[[str], None]) -> str:
        """Pull an image, which then has the lab's own name, too; its digest. Raises UsageError."""
        digest = self._do(docker, "pull", tag, watch)
        docker.run("tag", f"{self.address}/{tag}", tag)
        return digest

    def _do(self, docker: Docker, verb: str, tag: str, watch: Callable[[str], None]) -> str:
        lines: list[str] = []

        def see(line: str) -> None:
            lines.append(line)
            watch(layers(lines))

        status, said = following(docker, verb, f"{self.address}/{tag}", watch=see)
        if status:
            raise self.complaint(docker, said, tag)
        digest = re.search(r"sha256:[0-9a-f]{64}", "\n".join(lines[-3:]))
        if not digest:  # docker ends with 0 when its connection is cut
            raise UsageError(f"docker {verb} {tag} at {docker.at} broke off", "try again: what has arrived is kept")
        return digest[0]

    def complaint(self, docker: Docker, said: str, tag: str) -> UsageError:
        """What the engine complained about the registry, in words that name the cure."""
        if "Docker daemon" not in said and "error during connect" not in said:
            known = diagnose(said, "registry", at=docker.at, registry=self.address, tag=tag)
            if known:
                return UsageError.of(known)
        return docker.complaint(said)


@dataclass(frozen=True)
class SiteRegistry(Registry):
    """An inventory's, on one of its hosts. `upstream`: it only passes on what that one has, and takes nothing."""

    host: Host
    port: int
    upstream: str


def layers(lines: Sequence[str]) -> str:
    """How many layers are done, from the lines of `docker push` or `docker pull` so far."""
    said = dict(re.findall(r"^([0-9a-f]{12}): (.+)$", "\n".join(lines), re.MULTILINE))
    done = sum(
        what.startswith(("Pushed", "Layer already", "Mounted", "Pull complete", "Already")) for what in said.values()
    )
    return f"{done} of {len(said)} layers" if said else ""


def named(address: str) -> Registry:
    """The registry that --registry names. Raises UsageError for what docker would take for another."""
    if not ADDRESS.fullmatch(address):
        raise UsageError(
            f"--registry {address}: not the address of a registry",
            "registry.example or HOST:PORT, without http://; a bare name would mean Docker Hub",
        )
    return Registry(address)


def of_inventory(hosts: Sequence[Host]) -> SiteRegistry | None:
    """The site's registry: the role's variable registry_host. Raises UsageError where that is no host."""
    settings = hosts[0].variables
    name = str(settings.get("registry_host") or "")
    if not name:
        return None
    host = next((host for host in hosts if host.name == name), None)
    if host is None:
        raise UsageError(f"registry_host={name} is no host of the inventory", "name one of its hosts")
    port = int(settings.get("registry_port", PORT))
    return SiteRegistry(f"{host.address}:{port}", host, port, str(settings.get("registry_upstream") or ""))


@contextmanager
def through_ssh(registry: SiteRegistry) -> Iterator[Registry]:
    """The inventory's registry as this machine's engine reaches it: on the loopback, where engines speak plain http.

    So it takes no more than ssh, and no setting of this machine's engine. Raises UsageError where there is no way.
    """
    host = registry.host
    if host.local:
        yield Registry(f"127.0.0.1:{registry.port}")
        return
    port = free_port(PORT)
    way = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:{registry.port}"]
    near = Registry(f"127.0.0.1:{port}")
    with tempfile.TemporaryFile("w+") as said:
        ssh = subprocess.Popen(
            ["ssh", *options(host), *ALIVE, *way, host.address], stdin=subprocess.DEVNULL, stderr=said, cwd=ROOT
        )
        try:
            deadline = time.monotonic() + REACHED_WITHIN
            while not answers(near.address):
                if ssh.poll() is not None:
                    said.seek(0)
                    answer = complaint(host, said.read())
                    raise UsageError(f"{host.name}: {answer.problem}", answer.cure)
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"{host.name}: no registry answers on port {registry.port}",
                        "./inv provision --tags registry, or there: systemctl status docker-registry",
                    )
                time.sleep(0.1)
            yield near
        finally:
            ssh.terminate()
            ssh.wait()


def answers(address: str) -> bool:
    """Whether a registry answers there, by plain http and past any proxy."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}/v2/", timeout=5):
            return True
    except urllib.error.HTTPError:  # it answers, if only to ask for a login
        return True
    except (OSError, ValueError):
        return False
