"""The verbs that make hosts, prove them and look for what is wrong."""

from __future__ import annotations

from typing import Any

from gpulab.common.outcome import Outcome
from gpulab.verbs.options import ENGINE, HOSTS, LIMIT, TAGS, Option, flag, repeated
from gpulab.verbs.verb import verb


@verb(HOSTS, LIMIT)
def hosts(**options: Any) -> Outcome:
    """Show what an inventory means, and which hosts answer.

    Groups, addresses, GPUs.
    """
    from gpulab.hosts.show import show

    return show(**options)


@verb(HOSTS, LIMIT, flag("once", "print it once, also in a terminal"))
def top(**options: Any) -> Outcome:
    """Show who uses which GPU: programs, reservations.

    A table that refreshes until Ctrl-C.
    """
    from gpulab.hosts.top import top

    return top(**options)


@verb(HOSTS, LIMIT, flag("yes", "accept without asking"), repeated("forget", "drop a host's old key"))
def trust(**options: Any) -> Outcome:
    """Show the hosts' keys and accept them once."""
    from gpulab.hosts.trust import trust

    return trust(**options)


@verb(
    HOSTS,
    flag("check", "only say what would change"),
    LIMIT,
    TAGS,
    flag("reboot", "allow a reboot where the driver needs it"),
    flag("wait", "wait while another provision runs"),
    flag("ask_become_pass", "ask for the hosts' sudo password"),
)
def provision(**options: Any) -> Outcome:
    """Make identical GPU hosts of bare ones; again and again."""
    from gpulab.hosts.provision import provision

    return provision(**options)


@verb(HOSTS, LIMIT, Option("only", "checks whose name holds this word (pytest's -k)"))
def verify(**options: Any) -> Outcome:
    """Check every role's promises on every host.

    A table host x check, JUnit and JSON.
    """
    from gpulab.hosts.verify import verify

    return verify(**options)


@verb(
    HOSTS.called("all of this inventory, together; this machine without it"),
    LIMIT,
    ENGINE.called("local, docker or slurm, as in inv lab"),
    Option("level", "quick, standard or burn-in: 10 s, 5 min or an hour of arithmetic on each GPU", default="quick"),
    flag("rehearse", "on the CPU, even where there is a GPU"),
)
def accept(**options: Any) -> Outcome:
    """Measure new machines: are they fit for use?

    GPUs, links, disks, a burn-in, a short training; pass or fail for each.
    """
    from gpulab.runs.accept import accept

    return accept(**options)


@verb(HOSTS, LIMIT, TAGS)
def drift(**options: Any) -> Outcome:
    """Say what differs from what was provisioned; exit 1 on drift.

    Changes nothing.
    """
    from gpulab.hosts.drift import drift

    return drift(**options)


@verb(HOSTS, repeated("host", "a host's name; given twice, the two are compared", to="names"))
def fingerprint(**options: Any) -> Outcome:
    """Show what makes a host what it is, or how two hosts differ."""
    from gpulab.hosts.fingerprint import fingerprint

    return fingerprint(**options)


@verb(HOSTS, LIMIT, flag("all", "also what is well", to="every"))
def doctor(**options: Any) -> Outcome:
    """Look for known problems here or on hosts, each with its cure."""
    from gpulab.hosts.doctor.examine import doctor

    return doctor(**options)


@verb(
    Option("system", "only for this system: debian13"),
    Option("mirror", "the addresses of ansible/mirrors/NAME.yml"),
    Option("download", "fetch everything into this folder"),
    Option("only", "of keys,packages,images,wheels"),
)
def bundle(**options: Any) -> Outcome:
    """List, or download, what a site without network needs.

    Repositories, keys, packages, images, wheels.
    """
    from gpulab.hosts.bundle import bundle

    return bundle(**options)
