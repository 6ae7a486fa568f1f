"""What is installed is what the lock says, and its commands work."""

from __future__ import annotations

from pathlib import Path

import yaml
from packaging.requirements import Requirement

from gpulab.stacks.cpu_torch import pinned
from gpulab.stacks.lock_parts import entries
from gpulab.stacks.stack import Stack
from tests.images.box import Box

# console scripts that do not answer --help, each with the reason
NO_HELP = yaml.safe_load((Path(__file__).parent / "no_help.yml").read_text())
# packages that bring the same file with other contents, each with why that does no harm
CLASHES = yaml.safe_load((Path(__file__).parent / "clashes.yml").read_text())


def locked(stack: Stack, markers: dict[str, str]) -> dict[str, str]:
    """Package -> version of the lock, for the machine that `markers` describe; torch's CPU build stands outside."""
    found = {}
    for block in entries(stack.lock.read_text()).values():
        for line in (line for line in block.splitlines() if "==" in line.split("--hash")[0]):
            wanted = Requirement(line.removesuffix("\\"))
            if not wanted.marker or wanted.marker.evaluate(markers):
                found[wanted.name] = next(iter(wanted.specifier)).version
    return found | ({"torch": pinned(stack.all_pins, "torch")} if stack.pins.torch == "cpu" else {})


def difference(here: Box) -> set[tuple[str, str]]:
    """(package, version) that only the lock has, or only the image."""
    asked = here.ask("packages.py")
    there = {name: version.removesuffix("+cpu") for name, version in asked["installed"].items()}
    return set(locked(here.image.stack, asked["markers"]).items()) ^ set(there.items())


def test_the_versions_are_the_locks(here: Box) -> None:
    assert difference(here) == set()


def test_a_version_that_is_not_the_locks_is_seen(broken: Box) -> None:
    site = broken.python("import sysconfig; print(sysconfig.get_path('purelib'))")
    done = broken.run(
        "sh", "-c", f"cd {site} && sed -i 's/^Version: .*/Version: 0.0.1/' idna-*.dist-info/METADATA", user="0"
    )
    assert done.returncode == 0, done.stderr
    assert ("idna", "0.0.1") in difference(broken)


def test_every_command_answers_help(here: Box) -> None:
    here_too = [name.removesuffix(f" of {here.image.stack.name}") for name in NO_HELP]
    told = here.ask("scripts.py", *here_too, timeout=1800)
    assert told["asked"]
    assert told["failed"] == {}


def test_no_file_is_brought_by_two_packages_with_other_contents(here: Box) -> None:
    """Which of them wins would be chance: two builds of one lock would differ."""
    clashes = here.ask("clashes.py")
    by_whom = {tuple(names): file for file, names in clashes.items()}
    assert {names: file for names, file in by_whom.items() if " ".join(names) not in CLASHES} == {}
