"""`inv lab --dry`: the plan as a shell script. Starts nothing and keeps no record."""

from __future__ import annotations

from rich.text import Text

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import runs_dir
from gpulab.plan.script import as_script
from gpulab.runs.request import LabRequest
from gpulab.runs.resolve import resolve


def dry(request: LabRequest) -> Outcome:
    """What `inv lab` would run. Raises UsageError where that can't be."""
    if request.start:
        raise UsageError("--dry shows a plan that runs by itself, with all its steps", "leave --from out")
    spec = resolve(request, to_show=True)
    script = as_script(spec.engine.shell(spec.plan(runs_dir() / spec.lab.slug / "dry")))
    return Outcome({"plan": script, "profile": spec.profile}, text=Text(script.rstrip()))
