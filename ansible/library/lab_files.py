#!/usr/bin/python
"""Several small files and folders in one call: a role's settings cost one round trip instead of one for each file."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: lab_files
short_description: Keep several small text files and folders as they should be
description:
  - Writes each file whole or not at all. Supports check mode and shows the differences.
options:
  files:
    description: Paths and what stands in them; missing folders are made.
    type: dict
    default: {}
  folders:
    description: Folders to be there.
    type: list
    elements: path
    default: []
  owner:
    description: The folders' owner.
    type: str
    default: root
  group:
    description: The folders' group.
    type: str
    default: root
  mode:
    description: The folders' mode.
    type: str
    default: "0755"
author:
  - The GPU lab
"""

EXAMPLES = """
- name: Ensure NCCL knows its interface
  lab_files:
    files:
      /etc/nccl.conf: |
        NCCL_SOCKET_IFNAME=eth0
"""

RETURN = """
paths:
  description: What was changed.
  returned: always
  type: list
"""


def write(module: AnsibleModule, path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(module.tmpdir, path.name)
    draft.write_text(content)
    draft.chmod(0o644)
    module.atomic_move(str(draft), str(path))
    path.chmod(0o644)


def main() -> None:
    module = AnsibleModule(
        {
            "files": {"type": "dict", "default": {}},
            "folders": {"type": "list", "elements": "path", "default": []},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0755"},
        },
        supports_check_mode=True,
    )
    paths: list[str] = []
    diff = []
    attributes = {key: module.params[key] for key in ("owner", "group", "mode")} | {"secontext": [], "attributes": None}
    for name in module.params["folders"]:
        there = Path(name).is_dir()
        if not there and not module.check_mode:
            Path(name).mkdir(parents=True)
        # In check mode a folder that is yet to come has nothing to compare.
        wrong = Path(name).is_dir() and module.set_fs_attributes_if_different({"path": name, **attributes}, False)
        if wrong or not there:
            paths.append(name)
            as_it_was = "a folder with another owner or mode\n" if there else ""
            as_it_is = f"a folder of {attributes['owner']}:{attributes['group']}, mode {attributes['mode']}\n"
            diff.append({"before_header": name, "after_header": name, "before": as_it_was, "after": as_it_is})
    for name, content in module.params["files"].items():
        path = Path(name)
        before = path.read_text() if path.is_file() else ""
        wrong = module.set_mode_if_different(name, "0644", False) if path.is_file() else True
        if before == content and not wrong:
            continue
        if before != content and not module.check_mode:
            write(module, path, content)
        paths.append(name)
        diff.append({"before_header": name, "after_header": name, "before": before, "after": content})
    module.exit_json(changed=bool(paths), paths=paths, diff=diff)


if __name__ == "__main__":
    main()
