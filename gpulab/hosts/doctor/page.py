"""docs/doctor.md, made from the checks: python -m gpulab.hosts.doctor.page"""

from __future__ import annotations

from gpulab.common.paths import ROOT
from gpulab.hosts.doctor import cluster, host, python
from gpulab.hosts.doctor.check import CHECKS

PAGE = ROOT / "docs" / "doctor.md"
HEAD = """<!-- Made by `python -m gpulab.hosts.doctor.page` from gpulab/hosts/doctor. -->
# What the doctor looks for

`./inv doctor` looks at this machine, `./inv doctor --hosts gpus.ini` at every host, one round trip each. A check that
finds nothing of its kind (no GPU, no InfiniBand) says nothing; `--all` shows what is well, too. The issues are
ms-swift's, unless another project is named.
"""
CHAPTERS = {
    python: "Python environments",
    cluster: "Between hosts",
    host: "A GPU host",
}


def page() -> str:
    """The whole page."""
    text = HEAD
    for module, title in CHAPTERS.items():
        rows = [c for c in CHECKS if c.look.__module__ == module.__name__]
        table = "".join(f"| `{c.id}` | {c.problem} | {c.cure} | {c.issues} |\n" for c in rows)
        text += f"\n## {title}\n\n| Check | Problem | Cure | Issues |\n|---|---|---|---|\n{table}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
