"""Fetch what `inv bundle` lists: each function returns what it could not get, with the reason."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpulab.common.console import console
from gpulab.common.docker import Docker
from gpulab.common.failure import Failure
from gpulab.common.paths import ROOT
from gpulab.common.service_images import service_image

SECONDS = 60
PINNED_KEY = ROOT / "ansible" / "roles" / "packages" / "files" / "pinned-key"
NOT_IN_IT = 3  # its status where a file has no such key
# Of each distribution the package with its archive's keys, and the components that the roles take packages from.
ARCHIVES = {
    "Debian": ("debian-archive-keyring", "main"),
    "Ubuntu": ("ubuntu-keyring, on Debian 13 or Ubuntu", "main universe"),
}


def fetch_keys(needs: dict[str, Any], folder: Path) -> list[Failure]:
    """Each repository's key with the fingerprint that the roles expect; no other key of the same file is kept."""
    failures = []
    folder.mkdir(parents=True, exist_ok=True)
    for source in needs["sources"].values():
        target, got = folder / f"{source['name']}.asc", folder / f"{source['name']}.unchecked"
        try:
            with urllib.request.urlopen(source["key_url"], timeout=SECONDS) as answer:
                got.write_bytes(answer.read())
        except OSError as error:
            failures.append(Failure(str(error), where=source["key_url"]))
            continue
        status, _, complaint = said("sh", str(PINNED_KEY), str(got), source["fingerprint"].upper(), str(target))
        got.unlink()
        if status:
            why = f"not the key {source['fingerprint']}" if status == NOT_IN_IT else last(complaint)
            failures.append(Failure(why, where=source["key_url"]))
    return failures


def fetch_packages(system: str, needs: dict[str, Any], folder: Path) -> list[Failure]:
    """The packages and all they need, as for a system with nothing installed; one repository's failure leaves the rest.

    Needs apt-get on this machine, of any release. The other distribution's archive takes a mirror and its keyring.
    """
    if not shutil.which("apt-get"):
        return [Failure("no apt-get on this machine", "fetch the packages on Debian or Ubuntu", system)]
    failures = []
    root = folder / "apt"
    for part in ("etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "state/lists/partial",
                 "cache/archives/partial"):  # fmt: skip
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "state/status").touch()
    lines, problem = archive(**needs["archive"])
    if problem:
        return [replace(problem, where=system)]
    (root / "etc/sources.list").write_text("".join(lines), encoding="utf-8")
    own = {name: "" for packages in needs["packages"].values() for name, version in packages.items() if not version}
    groups = {"": own, **{role: {n: v for n, v in needs["packages"][role].items() if v} for role in needs["sources"]}}
    for role, wanted in groups.items():
        if not wanted:
            continue
        source = needs["sources"].get(role)
        listed = root / "etc/sources.list.d/own.list"
        listed.unlink(missing_ok=True)
        if source:
            key, uri = folder / f"{source['name']}.asc", source["uri"].replace("$(ARCH)", "amd64")
            if not key.is_file():
                failures.append(Failure(f"no key of {uri}", "--only keys,packages", f"{system}: {role}"))
                continue
            listed.write_text(
                f"deb [signed-by={key}] {uri} {source['suite']} {source['components']}\n", encoding="utf-8"
            )
        failures += [Failure(why, where=f"{system}: {role or 'its own packages'}") for why in apt(root, wanted)]
    return failures


def archive(distribution: str, release: str, mirror: str) -> tuple[list[str], Failure | None]:
    """The lines of sources.list for a release's own archive, at the mirror or at this machine's address; or why not."""
    name = distribution.lower()
    _, known, _ = said("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    own = sorted({line.split()[1] for line in known.splitlines() if line.startswith(f"{distribution} ")})
    addresses = [f"{mirror}/{name}"] if mirror else own
    if not addresses:
        why = f"this machine's apt knows no archive of {distribution}"
        return [], Failure(why, "--mirror NAME, with `apt` in its file")
    keyring = Path(f"/usr/share/keyrings/{name}-archive-keyring.gpg")
    package, components = ARCHIVES[distribution]
    if not keyring.is_file():
        return [], Failure(f"no {keyring} on this machine", f"apt-get install -y {package}")
    suites = (release, f"{release}-updates")
    return [f"deb [signed-by={keyring}] {addresses[0]} {suite} {components}\n" for suite in suites], None


def apt(root: Path, wanted: dict[str, str]) -> list[str]:
    """Download packages into root/cache/archives with an apt that knows nothing of this machine."""
    places = [f"Dir={root}", "Dir::Etc=etc", "Dir::State=state", f"Dir::State::status={root}/state/status"]
    options = [*places, "Dir::Cache=cache", "APT::Architecture=amd64", "APT::Sandbox::User=root"]
    options.append("APT::Update::Error-Mode=any")
    given = [word for option in options for word in ("-o", option)]
    status, _, complaint = said("apt-get", *given, "-q", "update", seconds=600)
    if status:
        return [last(complaint)]
    names = [f"{name}={pattern}" if pattern else name for name, pattern in wanted.items()]
    console.print(f"  {len(names)} packages and what they need ...")
    more = ["--yes", "--download-only", "--no-install-recommends"]
    status, _, complaint = said("apt-get", *given, "-q", *more, "install", *names, seconds=3600)
    return [last(complaint)] if status else []


def fetch_images(images: Sequence[str], folder: Path) -> list[Failure]:
    """Each image as a file for `docker load`, under its tag: a file brings no digest.

    Of one that has none yet the digest of what came is kept from now on.
    """
    if not shutil.which("docker"):
        return [Failure("no docker on this machine: no images", "fetch them where there is one")]
    failures = []
    for image in images:
        name, _, digest = image.partition("@")
        target = folder / f"{name.replace('/', '_').replace(':', '_')}.tar"
        tag = [("tag", image, name)] if digest else []
        for words in (("pull", "--quiet", image), *tag, ("save", "--output", str(target), name)):
            status, _, complaint = said("docker", *words, seconds=3600)
            if status:
                failures.append(Failure(last(complaint), where=image))
                break
        else:
            service_image(image, Docker())
    return failures


def fetch_wheels(lock: Path, folder: Path) -> list[Failure]:
    """Everything a lock names, for this machine's Python and platform, checked against its hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    python = getattr(sys, "_base_executable", sys.executable)
    argv = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(folder), "-r", str(lock)]
    status, _, complaint = said(python, *argv, seconds=7200)
    return [Failure(last(complaint), where=lock.name)] if status else []


def said(*argv: str, seconds: float = SECONDS) -> tuple[int, str, str]:
    """(status, output, complaint) of a program."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError:
        return 127, "", f"no {argv[0]} on this machine"
    except subprocess.TimeoutExpired:
        return 124, "", f"not done within {seconds:.0f} s"
    return done.returncode, done.stdout, done.stderr


def last(complaint: str) -> str:
    """The line of a complaint that says what is wrong."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith(("E:", "ERROR", "Error", "error"))]
    return (named or lines or ["no reason given"])[0][:300]
