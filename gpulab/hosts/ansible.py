"""Ansible's programs as this repository runs them: its own configuration, from its own folder."""

from __future__ import annotations

import configparser
import os
import sys
from functools import cache
from pathlib import Path

from gpulab.common.paths import CACHE, ROOT

CONFIG = ROOT / "ansible.cfg"
SITE = ROOT / "ansible" / "site.yml"
KNOWN_HOSTS = CACHE / "known_hosts"
"""The same file that ansible.cfg names, from ROOT, for ssh."""


def program(name: str) -> str:
    """The path of one of Ansible's programs: the control venv's own."""
    return str(Path(sys.executable).parent / name)


def environment() -> dict[str, str]:
    """The environment for Ansible and for what starts it (testinfra asks for `ansible-inventory` by name)."""
    bin_first = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    # ansible-runner turns the check of host keys off wherever the environment is silent about it.
    own = {"ANSIBLE_CONFIG": str(CONFIG), "ANSIBLE_HOST_KEY_CHECKING": "True", "LC_ALL": "C.UTF-8"}
    return {**os.environ, "PATH": bin_first, **own, **mitogen()}


def mitogen() -> dict[str, str]:
    """One Python kept on each host for the whole play instead of one for each task: a third of the time."""
    import ansible_mitogen

    plugins = Path(ansible_mitogen.__file__).parent / "plugins" / "strategy"
    return {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(plugins)}


@cache
def ssh_settings() -> dict[str, str]:
    """The `[ssh_connection]` section of ansible.cfg, so that our own ssh connects just as Ansible does."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(CONFIG, encoding="utf-8")
    return dict(config["ssh_connection"]) if config.has_section("ssh_connection") else {}
