#!/usr/bin/python
"""Kernel settings that are both written down and in force: a value changed by hand is seen and put back."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: kernel_settings
short_description: Keep a sysctl file and the running kernel in step
description:
  - Writes the file for the next boot and sets what differs now. Supports check mode and shows the differences.
options:
  path:
    description: The file below /etc/sysctl.d.
    type: path
    required: true
  settings:
    description: The settings and their values.
    type: dict
    required: true
author:
  - The GPU lab
"""

EXAMPLES = """
- name: Ensure outgoing connections leave the rendezvous ports alone
  kernel_settings:
    path: /etc/sysctl.d/60-gpu-lab.conf
    settings: {net.ipv4.ip_local_reserved_ports: 29400-29600}
"""

RETURN = """
absent:
  description: Settings this kernel does not have; they are written down but cannot be in force.
  returned: always
  type: list
"""


def render(settings: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


def in_proc(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


def put_in_force(module: AnsibleModule, name: str, value: str) -> None:
    try:
        in_proc(name).write_text(value)
    except OSError as error:
        module.fail_json(msg=f"The kernel refuses {name} = {value}: {error.strerror}. Cure: set another value.")


def main() -> None:
    module = AnsibleModule(
        {"path": {"type": "path", "required": True}, "settings": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    # Some values are lists, which the kernel writes with tabs.
    wanted = {name: " ".join(str(value).split()) for name, value in module.params["settings"].items()}
    written = path.read_text() if path.exists() else ""
    absent = [name for name in wanted if not in_proc(name).exists()]
    running = {name: " ".join(in_proc(name).read_text().split()) for name in wanted if name not in absent}
    wrong = [name for name, value in running.items() if value != wanted[name]]
    changed = bool(wrong) or written != render(wanted)
    if changed and not module.check_mode:
        path.write_text(render(wanted))
        for name in wrong:
            put_in_force(module, name, wanted[name])
    diff = [
        {"before_header": str(path), "after_header": str(path), "before": written, "after": render(wanted)},
        {
            "before_header": "in force",
            "after_header": "in force",
            "before": render({name: running[name] for name in wrong}),
            "after": render({name: wanted[name] for name in wrong}),
        },
    ]
    module.exit_json(changed=changed, absent=absent, diff=diff)


if __name__ == "__main__":
    main()
