"""Every verb, a table of contents: the logic is in gpulab/. `inv --list` shows them, `inv --help VERB` explains one."""

from __future__ import annotations

from gpulab.verb import Outcome, verb


@verb(help={"stack": "one stack, or `control`; default: all"})
def lock(stack: str = "") -> Outcome:
    """Make the hashed locks from docker/stacks.yml (and gpulab/control.lock from pyproject.toml)."""
    from gpulab.locks import make_locks

    return make_locks(stack)


HOSTS = {"hosts": "the inventory: gpus.ini", "limit": "only these hosts or groups: gpu1,storage"}
PLAY = {**HOSTS, "tags": "only these roles: base,docker_engine"}


@verb(
    help={
        **PLAY, "check": "only say what would change", "reboot": "allow a reboot where the driver needs it",
        "wait": "wait while another provision runs", "ask_become_pass": "ask for the hosts' sudo password",
    }
)  # fmt: skip
def provision(
    hosts: str = "", check: bool = False, limit: str = "", tags: str = "", reboot: bool = False, wait: bool = False,
    ask_become_pass: bool = False,
) -> Outcome:  # fmt: skip
    """Bring bare hosts to identical GPU hosts: the whole site, again and again."""
    from gpulab.hosts.provision import provision

    return provision(
        hosts, check=check, limit=limit, tags=tags, reboot=reboot, wait=wait, ask_become_pass=ask_become_pass
    )


@verb(help=PLAY)
def drift(hosts: str = "", limit: str = "", tags: str = "") -> Outcome:
    """Say what differs on the hosts from what was provisioned; changes nothing, exit 1 on drift."""
    from gpulab.hosts.drift import drift

    return drift(hosts, limit=limit, tags=tags)
