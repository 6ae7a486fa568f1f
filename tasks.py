"""Every verb, a table of contents: the logic is in gpulab/. `inv --list` shows them, `inv --help VERB` explains one."""

from __future__ import annotations

from gpulab.common.outcome import Outcome
from gpulab.verbs.verb import verb


@verb(
    positional=["name"],
    iterable=["set"],
    help={
        "name": "the lab's folder: `quickstart` or `start/quickstart`",
        "rehearse": "on the CPU with a tiny twin, even where there is a GPU",
        "dry": "print the plan as a shell script and run nothing",
        "set": "step.key=value: a flag for one step's command; may be given again",
        "keep-serving": "leave the last server up when all is done, until Ctrl-C",
        "hub": "where real models come from: modelscope or hf",
        "engine": "local (the stack's venv), docker (its image; usual on hosts) or slurm (a job in the hosts' queue)",
        "hosts": "on a host of this inventory: gpus.ini",
        "limit": "only on these hosts or groups: gpu1,storage",
        "nodes": "how many nodes the steps that spread run on",
        "requeue": "a job that loses its node starts again, from its last checkpoint",
        "only": "these steps alone, and those that they refer to: ddp,zero3",
    },
)
def lab(
    name: str,
    rehearse: bool = False,
    dry: bool = False,
    set: list[str] | None = None,
    keep_serving: bool = False,
    hub: str = "modelscope",
    engine: str = "",
    hosts: str = "",
    limit: str = "",
    nodes: int = 0,
    requeue: bool = False,
    only: str = "",
) -> Outcome:
    """Run a lab: on the GPUs it needs, else rehearsed on the CPU with the real ms-swift."""
    from gpulab.runs.execute import run_lab

    return run_lab(
        name, rehearse=rehearse, dry=dry, settings=set or [], keep_serving=keep_serving, hub=hub, engine=engine,
        hosts=hosts, limit=limit, nodes=nodes, requeue=requeue, only=only,
    )  # fmt: skip


@verb(
    positional=["name"],
    iterable=["set"],
    help={
        "name": "the lab's folder: `megatron` or `train/megatron`",
        "hosts": "on hosts of this inventory; they are asked for their GPUs, unless --gpus says",
        "limit": "only these hosts or groups: gpu1,storage",
        "nodes": "how many nodes the steps that spread run on",
        "gpus": "GPUs of each node; nobody is asked, so the cluster may be one that you do not have yet",
        "vram_gib": "memory of each GPU in GiB, as --gpus",
        "set": "step.key=value, as in inv lab: train.tensor_model_parallel_size=4",
    },
)
def plan(
    name: str, hosts: str = "", limit: str = "", nodes: int = 0, gpus: int = 0, vram_gib: float = 0.0,
    set: list[str] | None = None,
) -> Outcome:  # fmt: skip
    """Show what a lab would do on GPUs and start nothing: ranks, devices, the model's layout and why, memory."""
    from gpulab.runs.preview import show_plan

    return show_plan(name, hosts=hosts, limit=limit, nodes=nodes, gpus=gpus, vram_gib=vram_gib, settings=set or [])


@verb()
def labs() -> Outcome:
    """List the labs: what they need, whether they can run here, how the last run ended."""
    from gpulab.reports.listings import list_labs

    return list_labs()


@verb(help={"lab": "only this lab's runs", "limit": "how many, newest first"})
def runs(lab: str = "", limit: int = 20) -> Outcome:
    """List the runs on record, newest first."""
    from gpulab.reports.listings import list_runs

    return list_runs(lab, limit)


RUN = {"run": "`last`, a lab's name (its last run), or a run as `inv runs` prints it"}


@verb(positional=["run"], help=RUN)
def show(run: str) -> Outcome:
    """Show one run: steps, figures, proofs with their evidence, how to reproduce it."""
    from gpulab.reports.listings import show_run

    return show_run(run)


@verb(positional=["run"], help={**RUN, "limit": "on these hosts instead of those it ran on: gpu3,gpu4"})
def resume(run: str, limit: str = "") -> Outcome:
    """Go on with a run that was interrupted, killed or failed, in a new one, from its last whole checkpoint."""
    from gpulab.runs.resume import resume

    return resume(run, limit)


@verb(positional=["run"], help=RUN)
def attach(run: str) -> Outcome:
    """Follow a run on hosts again, containers or a job, wherever it is by now."""
    from gpulab.runs.remote_runs import attach

    return attach(run)


@verb(positional=["run"], help=RUN)
def cancel(run: str) -> Outcome:
    """End a run on hosts, on all of them, also one that nobody follows."""
    from gpulab.runs.remote_runs import cancel

    return cancel(run)


@verb(help={"hosts": "the inventory: gpus.ini"})
def queue(hosts: str = "") -> Outcome:
    """Show the hosts' queue: jobs, nodes, and why a node takes none."""
    from gpulab.runs.remote_runs import queue

    return queue(hosts)


@verb(help={"install": "make this stack's local venv", "why": "A,B: why these stacks can't be one"})
def stacks(install: str = "", why: str = "") -> Outcome:
    """List the stacks with their pins and local venvs."""
    from gpulab.reports.listings import list_stacks
    from gpulab.stacks.locks import why_not_together

    return why_not_together(why) if why else list_stacks(install)


@verb(
    help={
        "stack": "one stack, or `control` (the lab's own tools); default: all",
        "check": "write nothing: is each lock what its pins resolve to, and what would an upgrade change?",
        "upgrade": "take the newest versions that the pins allow",
    }
)
def lock(stack: str = "", check: bool = False, upgrade: bool = False) -> Outcome:
    """Make the hashed locks from docker/stacks.yml and pyproject.toml, or check them."""
    from gpulab.stacks.locks import make_locks

    return make_locks(stack, check=check, upgrade=upgrade)


@verb(
    positional=["stack"],
    help={
        "stack": "one, or several with commas between them; parents are built first",
        "base": "the image that it stands on, for closed networks; or GPULAB_BASE_IMAGE",
        "dry": "print what buildx bake is told, and build nothing",
    },
)
def build(stack: str, base: str = "", dry: bool = False) -> Outcome:
    """Build the stacks' Docker images from their locks, with a manifest and an SBOM of each."""
    from gpulab.images.build import build

    return build(stack, base=base, dry=dry)


@verb(
    help={
        "hosts": "every host of this inventory instead of this machine", "limit": "only these hosts or groups: gpu1",
        "need": "STACK[,STACK]: it is a failure where one is missing",
        "env": "write compose/.env: the images' names for docker compose",
    }
)  # fmt: skip
def images(hosts: str = "", limit: str = "", need: str = "", env: bool = False) -> Outcome:
    """Show which stack's image is here, or on which host, and whether it is the same one everywhere."""
    from gpulab.images.compose import write_env
    from gpulab.images.listing import list_images

    return write_env() if env else list_images(hosts=hosts, limit=limit, need=need)


FOR_ALL = {"hosts": "for the hosts of this inventory", "limit": "only these hosts or groups: gpu1,storage"}
STACKS = "one stack, or several: cpu,train"


@verb(positional=["stack"], help={"stack": STACKS, "file": "NAME.tar, or NAME.tar.gz: smaller, and slower to make"})
def save(stack: str, file: str = "") -> Outcome:
    """Write images into a tarball, its checksum beside it, for a network without a registry."""
    from gpulab.images.save import save

    return save(stack, file=file)


@verb(positional=["file"], help={"file": "what `inv save` wrote", **FOR_ALL})
def load(file: str, hosts: str = "", limit: str = "") -> Outcome:
    """Load a tarball here, or on every host: where the site has a registry, it is uploaded once."""
    from gpulab.images.load import load

    return load(file, hosts=hosts, limit=limit)


REGISTRY = {"stack": STACKS, "registry": "its address: registry.example:5000"}


@verb(positional=["stack"], help={**REGISTRY, **FOR_ALL, "hosts": "to this inventory's registry, else to its hosts"})
def push(stack: str, registry: str = "", hosts: str = "", limit: str = "") -> Outcome:
    """Push images to a registry; to an inventory's through ssh, or straight to its hosts where it has none."""
    from gpulab.images.push import push

    return push(stack, registry=registry, hosts=hosts, limit=limit)


@verb(positional=["stack"], help={**REGISTRY, **FOR_ALL})
def pull(stack: str, registry: str = "", hosts: str = "", limit: str = "") -> Outcome:
    """Pull images from a registry here, or on every host side by side, and check that all got the same."""
    from gpulab.images.pull import pull

    return pull(stack, registry=registry, hosts=hosts, limit=limit)


@verb(
    help={
        "fast": "leave out what runs the real ms-swift or real hosts",
        "match": "only tests whose name matches (pytest -k)",
    }
)
def test(fast: bool = False, match: str = "") -> Outcome:
    """Run the test suite: lint, unit tests, the rehearsals for real, the roles on real hosts."""
    from gpulab.verbs.quality import run_tests

    return run_tests(fast=fast, match=match)


@verb()
def lint() -> Outcome:
    """Check format, style, types, YAML and shell."""
    from gpulab.verbs.quality import run_lint

    return run_lint()


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


@verb(help={**HOSTS, "only": "checks whose name holds this word (pytest's -k)"})
def verify(hosts: str = "", limit: str = "", only: str = "") -> Outcome:
    """Prove every role's promise on every host: a table host x check, JUnit and JSON."""
    from gpulab.hosts.verify import verify

    return verify(hosts, limit=limit, only=only)


@verb(help=HOSTS)
def hosts(hosts: str = "", limit: str = "") -> Outcome:
    """Show what was understood of the inventory: groups, addresses, GPUs, who can be reached."""
    from gpulab.hosts.show import show

    return show(hosts, limit=limit)


@verb(iterable=["forget"], help={**HOSTS, "yes": "accept without asking", "forget": "drop a host's old key"})
def trust(hosts: str = "", limit: str = "", yes: bool = False, forget: list[str] = []) -> Outcome:  # noqa: B006
    """Show the hosts' keys and accept them once, into the project's own list."""
    from gpulab.hosts.trust import trust

    return trust(hosts, limit=limit, yes=yes, forget=forget)


@verb(iterable=["host"], help={"hosts": HOSTS["hosts"], "host": "a host's name; given twice, the two are compared"})
def fingerprint(hosts: str = "", host: list[str] = []) -> Outcome:  # noqa: B006
    """Show what makes a host what it is, or in which lines two hosts differ."""
    from gpulab.hosts.fingerprint import fingerprint

    return fingerprint(host, hosts)


@verb(help={**HOSTS, "all": "also what is well"})
def doctor(hosts: str = "", limit: str = "", all: bool = False) -> Outcome:
    """Look for the known problems, on this machine or on hosts, each with evidence and cure."""
    from gpulab.hosts.doctor.examine import doctor

    return doctor(hosts, limit=limit, every=all)


@verb(
    help={
        "system": "only for this system: debian13", "mirror": "the addresses of ansible/mirrors/NAME.yml",
        "download": "fetch everything into this folder", "only": "of keys,packages,images,wheels",
    }
)  # fmt: skip
def bundle(system: str = "", mirror: str = "", download: str = "", only: str = "") -> Outcome:
    """List, or download, what a site without network needs: repositories, keys, packages, images, wheels."""
    from gpulab.hosts.bundle import bundle

    return bundle(system=system, mirror=mirror, download=download, only=only)


@verb(help={"up": "how many hosts", "down": "take them down", "name": "testbeds of other names stay"})
def testbed(up: str = "", down: bool = False, name: str = "dev") -> Outcome:
    """Real hosts on this machine to try things on, for developers: systemd, ssh, stand-in GPUs."""
    from gpulab.hosts.testbed import testbed

    return testbed(up=up, down=down, name=name)
