"""A module of gpulab/inside with all that it imports from there as one program, for a host's Python to read from its
standard input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gpulab.common.paths import ROOT

INSIDE = "gpulab.inside"
IMPORT = re.compile(rf"^from ({re.escape(INSIDE)}[\w.]*) import \(?([\w, ]*)", re.MULTILINE)
MODULE = """\
sys.modules[{name!r}] = module = types.ModuleType({name!r})
exec(compile({source!r}, {name!r}, 'exec'), module.__dict__)
"""


def program(name: str) -> str:
    """The module (`machine.facts`) as the main one; it imports the others as usual."""
    *others, main = dict(_with_imports(f"{INSIDE}.{name}")).items()
    packages = {full.rpartition(".")[0] for full, _ in others} | {"gpulab", INSIDE}
    text = f"import sys, types\nfor name in {sorted(packages)!r}:\n    sys.modules[name] = types.ModuleType(name)\n"
    text += "".join(MODULE.format(name=full, source=source) for full, source in others)
    return text + f"exec(compile({main[1]!r}, {main[0]!r}, 'exec'), {{'__name__': '__main__'}})\n"


def _with_imports(full: str) -> Iterator[tuple[str, str]]:
    """A module with its source, after those that it imports; some more than once."""
    source = _file(full).read_text(encoding="utf-8")
    for module, names in IMPORT.findall(source):
        within = [f"{module}.{name.strip()}" for name in names.split(",")]
        for one in [one for one in within if _file(one).is_file()] or [module]:
            yield from _with_imports(one)
    yield full, source


def _file(full: str) -> Path:
    return ROOT / f"{full.replace('.', '/')}.py"
