#!/usr/bin/python
"""What is missing between the packages a host has and the ones it should have. Reads only."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: package_gap
short_description: Compare a host's Debian packages with wanted versions
description:
  - Read only. Costs one call on a host that has everything, so that a second run is quick.
options:
  wanted:
    description: Package names, each with a version or a pattern of one (empty for any).
    type: dict
    required: true
  hold:
    description: Whether the packages have to be on hold.
    type: bool
    default: false
author:
  - The GPU lab
"""

EXAMPLES = """
- name: Find what is missing
  package_gap:
    wanted: {docker.io: "", nvidia-container-toolkit: "1.18.*"}
"""

RETURN = """
missing:
  description: Packages that are absent or have another version, as apt takes them (name or name=version).
  returned: always
  type: list
unheld:
  description: Packages that should be on hold and are not.
  returned: always
  type: list
unknown:
  description: For each missing package whose version no repository offers, the versions that are offered.
  returned: always
  type: dict
broken:
  description: Whether an earlier installation was interrupted.
  returned: always
  type: bool
half:
  description: Packages that were cut off while they were unpacked, which only a reinstallation cures.
  returned: always
  type: list
"""


def matches(version: str, pattern: str) -> bool:
    return not pattern or fnmatch(version, pattern)


def installed(module: AnsibleModule, names: list[str]) -> dict[str, tuple[str, str]]:
    """Of each installed package its version and what is wanted of it (`install` or `hold`)."""
    form = "${Package}\t${Version}\t${db:Status-Want}\t${db:Status-Status}\n"
    _, out, _ = module.run_command(["dpkg-query", "--show", f"--showformat={form}", *names])
    rows = [line.split("\t") for line in out.splitlines()]
    return {name: (version, want) for name, version, want, status in rows if status == "installed"}


def half_unpacked(module: AnsibleModule) -> list[str]:
    """What dpkg calls reinst-required: it cannot tell which of the package's files are there."""
    form = "${binary:Package}\t${db:Status-Eflag}\n"
    _, out, _ = module.run_command(["dpkg-query", "--show", f"--showformat={form}"])
    return [name for name, _, flag in (line.partition("\t") for line in out.splitlines()) if "reinst" in flag]


def offered(module: AnsibleModule, names: list[str]) -> dict[str, list[str]]:
    """Of each package the versions that the repositories offer, in one call: each reads all package lists."""
    if not names:
        return {}
    code, out, err = module.run_command(["apt-cache", "madison", *names])
    if code:
        # Most often two entries for one repository, one of them older than these roles.
        module.fail_json(
            msg=f"apt cannot read its sources: {err.strip()} Cure: remove the older one below /etc/apt/sources.list.d."
        )
    rows = [[part.strip() for part in line.split("|")] for line in out.splitlines() if line.count("|") >= 2]
    return {name: list(dict.fromkeys(version for of, version, *_ in rows if of == name)) for name in names}


def main() -> None:
    module = AnsibleModule(
        {"wanted": {"type": "dict", "required": True}, "hold": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    wanted = {name: str(pattern or "") for name, pattern in module.params["wanted"].items()}
    have = installed(module, list(wanted))
    missing, unknown = [], {}
    absent = [name for name, pattern in wanted.items() if name not in have or not matches(have[name][0], pattern)]
    for name, versions in offered(module, absent).items():
        pattern = wanted[name]
        fitting = [version for version in versions if matches(version, pattern)]
        if not fitting:
            unknown[name] = versions
        missing.append(f"{name}={fitting[0]}" if pattern and fitting else name)
    _, audit, _ = module.run_command(["dpkg", "--audit"])
    module.exit_json(
        changed=False,
        missing=missing,
        unknown=unknown,
        unheld=[name for name in wanted if module.params["hold"] and have.get(name, ("", ""))[1] != "hold"],
        half=half_unpacked(module),
        broken=bool(audit.strip()) or any(Path("/var/lib/dpkg/updates").iterdir()),
    )


if __name__ == "__main__":
    main()
