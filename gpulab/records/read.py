"""Records read, listed and found by name. One that can't be read is told of, and hides no other."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from gpulab.common.errors import UsageError, nearest
from gpulab.common.paths import runs_dir, shown
from gpulab.records.migrations import migrate
from gpulab.records.record import RunRecord

FILE = "run.json"


def read(folder: Path) -> RunRecord:
    """A run's record. Raises UsageError when it can't be read, or is none."""
    path = folder / FILE
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise UsageError("it is no file")
        data = migrate(json.loads(path.read_text(encoding="utf-8")))
        return RunRecord.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except UsageError as error:
        why = error.message
    except OSError as error:
        why = error.strerror or str(error)
    except (ValueError, RecursionError) as error:
        why = f"it is not whole JSON ({error})"
    except (TypeError, AttributeError):  # an old record whose parts are of another kind
        why = "it holds no record"
    raise UsageError(f"{shown(path)} can't be read: {why}", "remove its folder, or name another run: ./inv runs")


def run_name(folder: Path) -> str:
    """A run as one names it: `slug/time`."""
    return f"{folder.parent.name}/{folder.name}"


def all_runs(slug: str = "*", below: Path | None = None) -> list[Path]:
    """The folders of every run that left a record, oldest first, of ours or `below` a folder. Opens none of them."""
    return sorted(
        (f.parent for f in (below or runs_dir()).glob(f"{slug}/*/{FILE}")), key=lambda f: (f.name, f.parent.name)
    )


def find_run(name: str) -> Path:
    """A run by `slug/time`, by `time`, by lab (its last run) or `last`. Raises UsageError with the nearest."""
    runs = all_runs()
    if not runs:
        raise UsageError(f"no runs in {shown(runs_dir())} yet", "./inv lab quickstart")
    if name == "last":
        return runs[-1]
    wanted = name.rstrip("/").replace("runs/", "", 1)
    for folder in reversed(runs):
        slug = folder.parent.name
        if wanted in (run_name(folder), folder.name, slug, slug.partition("-")[2], slug.replace("-", "/", 1)):
            return folder
    labs = {f.parent.name.partition("-")[2] for f in runs}
    raise UsageError(f"no run {name!r}", nearest(name, [*sorted(labs), *map(run_name, runs)], listed="./inv runs"))
