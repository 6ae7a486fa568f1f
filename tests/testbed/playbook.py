"""Run a playbook as a user would, and keep what it said as data."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gpulab.hosts.ansible import mitogen
from tests.testbed.paths import REPO


@dataclass
class Result:
    code: int
    output: str
    events: list[dict[str, object]] = field(default_factory=list)

    def changed(self, host: str) -> list[str]:
        """The tasks that changed (or, in check mode, would change) this host."""
        return [str(e["task"]) for e in self.events if e["host"] == host and e["changed"]]

    def failures(self, host: str) -> list[str]:
        return [str(e["message"]) for e in self.events if e["host"] == host and e["failed"]]

    def count(self, host: str) -> Counter[str]:
        return Counter(self.changed(host))


def command(inventory: Path, *arguments: str, playbook: str = "ansible/site.yml") -> list[str]:
    return [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook, *arguments]


def environment(events: Path) -> dict[str, str]:
    # Nothing of the caller's own Ansible may leak in.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return clean | {
        "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback")),
        "ANSIBLE_CALLBACKS_ENABLED": "events",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(events.with_suffix(".facts")),
        "TESTBED_EVENTS": str(events),
        **mitogen(),
    }


def run(inventory: Path, *arguments: str, playbook: str = "ansible/site.yml", timeout: float = 900) -> Result:
    events = inventory.with_suffix(".events")
    events.unlink(missing_ok=True)
    done = subprocess.run(
        command(inventory, *arguments, playbook=playbook),
        cwd=REPO, env=environment(events), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    lines = events.read_text().splitlines() if events.exists() else []
    return Result(done.returncode, done.stdout + done.stderr, [json.loads(line) for line in lines])
