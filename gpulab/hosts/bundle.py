"""`inv bundle`: what a site without network needs: repositories, keys, packages, images, wheels; listed or fetched."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.common.errors import UsageError, nearest
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.common.paths import CONTROL_LOCK, ROOT, shown
from gpulab.common.service_images import with_kept_digests
from gpulab.hosts.ansible import environment, program
from gpulab.hosts.fetch import fetch_images, fetch_keys, fetch_packages, fetch_wheels
from gpulab.stacks.stack import load_stacks

PLAYBOOK = ROOT / "ansible" / "bundle.yml"
ROLES = ROOT / "ansible" / "roles"
# The names that repositories call the releases by, and the package that follows the kernel.
RELEASES = {
    "debian12": ("bookworm", "amd64"), "debian13": ("trixie", "amd64"),
    "ubuntu22.04": ("jammy", "generic"), "ubuntu24.04": ("noble", "generic"),
}  # fmt: skip
KINDS = ("keys", "packages", "images", "wheels")


def bundle(*, system: str, mirror: str, download: str, only: str) -> Outcome:
    """List what has to be carried in; with `download` fetch it into that folder. Exit 1 where something can't be had.

    Raises UsageError for an unknown system, mirror or kind of thing.
    """
    asked = [("--system", system, [*RELEASES]), ("--mirror", mirror, mirrors())]
    asked += [("--only", kind, [*KINDS]) for kind in only.split(",")]
    for option, word, known in asked:
        if word and word not in known:
            raise UsageError(f"{option} {word}: not known", nearest(word, known))
    if only and not download:
        raise UsageError("--only chooses what is downloaded", "--download FOLDER beside it, or leave --only out")
    needs = ask_the_roles([system] if system else [*RELEASES], mirror or "upstream")
    locks = {"control": CONTROL_LOCK, **{name: stack.lock for name, stack in load_stacks().items()}}
    wheels = {name: shown(lock) for name, lock in locks.items() if lock.is_file()}
    data: dict[str, Any] = {"systems": needs, "wheels": wheels}
    if not download:
        return Outcome(data, text=text(data))
    failures = fetch_all(data, Path(download).absolute(), only)
    return Outcome(data, failures=failures, text=f"what could be had is in {download}")


def mirrors() -> list[str]:
    """The presets of ansible/mirrors."""
    return sorted(path.stem for path in (ROOT / "ansible" / "mirrors").glob("*.yml"))


def ask_the_roles(systems: list[str], mirror: str) -> dict[str, Any]:
    """What the roles' own variables say for each system. Raises UsageError with Ansible's words."""
    # The defaults first, so that a role's vars/ win, as they do in a role.
    every = [
        ROLES / role / part / "main.yml"
        for part in ("defaults", "vars")
        for role in sorted(p.name for p in ROLES.iterdir())
    ]
    files = [str(path) for path in every if path.is_file()]
    hosts = {}
    for name in systems:
        distribution = "Debian" if name.startswith("debian") else "Ubuntu"
        release, kernel = RELEASES[name]
        own = [str(p) for p in sorted(ROLES.glob(f"*/vars/{distribution}.yml"))]
        about = {"distribution": distribution, "version": name.removeprefix(distribution.lower()), "release": release}
        hosts[name] = {"system": {**about, "kernel": kernel}, "bundle_files": files + own}
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder, "systems.yml")
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")
        extra = ["-e", f"bundle_folder={folder}", "-e", f"mirror={mirror}"]
        done = subprocess.run(
            [program("ansible-playbook"), "-i", str(inventory), *extra, str(PLAYBOOK)],
            cwd=ROOT,
            env={**environment(), "ANSIBLE_CACHE_PLUGIN": "memory"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            words = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line or "msg" in line]
            raise UsageError(f"the roles' variables can't be read: {' '.join(words)[:300]}", "inv lint")
        found = {name: json.loads(Path(folder, f"{name}.json").read_text(encoding="utf-8")) for name in systems}
    for needs in found.values():
        needs["packages"] |= plain_packages()
        needs["images"] = with_kept_digests(needs["images"])
    return found


def plain_packages() -> dict[str, dict[str, str]]:
    """The packages that roles name in their tasks: services, of whatever version the distribution has."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(ROLES.glob("*/tasks/*.yml")):
        for task in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
            wanted = task.get("vars", {}).get("packages_wanted")
            if isinstance(wanted, dict):
                found.setdefault(path.parts[-3], {}).update(wanted)
    return found


def fetch_all(data: dict[str, Any], folder: Path, only: str) -> list[Failure]:
    """Fetch every kind of thing, or the kinds that `only` lists; what could not be had."""
    systems, images = data["systems"], sorted({i for needs in data["systems"].values() for i in needs["images"]})

    def each(fetch: Callable[[str], list[Failure]], names: Iterable[str]) -> list[Failure]:
        return [failure for name in names for failure in fetch(name)]

    kinds: dict[str, Callable[[], list[Failure]]] = {
        "keys": lambda: each(lambda n: fetch_keys(systems[n], folder / n), systems),
        "packages": lambda: each(lambda n: fetch_packages(n, systems[n], folder / n), systems),
        "images": lambda: fetch_images(images, folder),
        "wheels": lambda: each(lambda n: fetch_wheels(ROOT / data["wheels"][n], folder / "wheels" / n), data["wheels"]),
    }
    chosen = only.split(",") if only else KINDS
    folder.mkdir(parents=True, exist_ok=True)
    return [failure for kind in chosen if kind for failure in kinds[kind]()]


def text(data: dict[str, Any]) -> Group:
    """For people."""
    grid = Table(box=None, pad_edge=False)
    for title in ("system", "what", "where"):
        grid.add_column(title, overflow="fold")
    for name, needs in data["systems"].items():
        for source in needs["sources"].values():
            grid.add_row(name, "repository", f"{source['uri']} {source['suite']} {source['components']}".strip())
            grid.add_row(name, "key", f"{source['key_url']} ({source['fingerprint']})")
        for role, packages in needs["packages"].items():
            grid.add_row(name, role, " ".join(f"{p}={v}" if v else p for p, v in packages.items()))
    for image in sorted({i for needs in data["systems"].values() for i in needs["images"]}):
        grid.add_row("all", "image", image)
    for stack, lock in data["wheels"].items():
        grid.add_row("all", "wheels", f"{stack}: {lock}")
    return Group(grid, Text("\nfetch it all where there is network: inv bundle --download DIR"))
