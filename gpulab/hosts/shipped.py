"""Modules of gpulab/inside as one program, for a host's Python to read from its standard input."""

from __future__ import annotations

from gpulab.common.paths import ROOT

BEGIN = """\
import sys, types
for name in ("gpulab", "gpulab.inside"):
    sys.modules[name] = types.ModuleType(name)
"""


def program(*modules: str) -> str:
    """The last of the modules as the main one; it imports the others as usual."""
    sources = {name: (ROOT / "gpulab/inside" / f"{name}.py").read_text(encoding="utf-8") for name in modules}
    text = BEGIN
    for name in modules[:-1]:
        full = f"gpulab.inside.{name}"
        text += f"sys.modules[{full!r}] = module = types.ModuleType({full!r})\n"
        text += f"exec(compile({sources[name]!r}, {name!r}, 'exec'), module.__dict__)\n"
    main = modules[-1]
    return text + f"exec(compile({sources[main]!r}, {main!r}, 'exec'), {{'__name__': '__main__'}})\n"
