"""Runs side by side: what they ran on, how they were set, what came of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.lab.flags import in_words
from gpulab.records.read import all_runs, read
from gpulab.records.record import RunRecord
from gpulab.reports.summary import compared

ENVIRONMENT, SETTINGS, FIGURES = "environment", "settings", "figures"
LOOKED_BACK = 20  # runs, for one of the same profile
# In ms-swift's args.json these say when and where, and not how; or say all the others over again.
NO_SETTING = ("logging_dir", "run_name", "output_dir", "rank", "local_rank", "args_path", "master_port", "port",
              "training_args", "model_info", "model_meta")  # fmt: skip
Args = dict[str, str]


@dataclass
class Row:
    """One fact of several runs: a value for each, in their order; None where a run has none."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        """Whether the runs are not all alike in it."""
        return any(value != self.values[0] for value in self.values)


def beside(runs: Sequence[tuple[Path, RunRecord]]) -> dict[str, list[Row]]:
    """What differs of environment and settings, and every figure, of these runs."""
    shared = set.intersection(*({step.step for step in record.steps} for _, record in runs))
    sides = [facts(folder, record, shared) for folder, record in runs]
    found = {}
    for group in (ENVIRONMENT, SETTINGS, FIGURES):
        names = dict.fromkeys(name for side in sides for name in side[group])
        rows = [Row(name, [side[group].get(name) for side in sides]) for name in names]
        found[group] = [row for row in rows if row.differs or group == FIGURES]
    return found


def facts(folder: Path, record: RunRecord, shared: Collection[str]) -> dict[str, dict[str, Any]]:
    """All that can be compared of one run, by group and name; settings of the steps that the runs share."""
    stack = record.stack
    environment = {
        "profile": record.profile, "engine": record.engine, "hosts": ", ".join(record.hosts), "nodes": record.nodes,
        "steps": ", ".join(step.step for step in record.steps),
        "stack": stack.get("name"), "lock": stack.get("lock"),
        "commit": f"{str(record.git.get('commit', ''))[:12]}{' and changes' if record.git.get('dirty') else ''}",
        **{f"machine: {name}": said(value) for name, value in record.machine.items()},
        **{f"package: {name}": value for name, value in (stack.get("packages") or {}).items()},
        **{f"${name}": value for name, value in record.environment.items() if name not in ("PWD", "OLDPWD", "SHLVL")},
    }  # fmt: skip
    settings: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for step in record.steps:
        own = flags(step.argv) | _args(folder / step.step) | {f"${k}": v for k, v in step.env.items()}
        if step.step in shared:
            own = {name: said.replace(str(folder), "RUN") for name, said in own.items() if name not in NO_SETTING}
            settings |= {f"{step.step}.{name}": said for name, said in own.items()}
        figures |= {f"{step.step}: {name}": value for name, value in compared([step]).items() if value is not None}
    return {ENVIRONMENT: environment, SETTINGS: settings, FIGURES: figures}


def flags(argv: Sequence[str]) -> Args:
    """The flags of a command line, a launcher's too, with their values."""
    return {name.replace("-", "_"): " ".join(values) for name, values in in_words(argv).items()}


def _args(out: Path) -> Args:
    """ms-swift's own account of a step's arguments, of every source; empty where there is none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        data = json.loads((out / "args.json").read_text(encoding="utf-8"))
        return {name: said(value) for name, value in data.items()}
    return {}


def said(value: Any) -> str:
    """A value in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def earlier(folder: Path, record: RunRecord) -> tuple[Path, RunRecord] | None:
    """The last run of this lab before this one: of the same profile, else of any."""
    found = list(_earlier(folder))
    alike = [run for run in found if run[1].profile == record.profile]
    return next(iter([*alike, *found]), None)


def _earlier(folder: Path) -> Iterator[tuple[Path, RunRecord]]:
    before = [run for run in all_runs(folder.parent.name) if run.name < folder.name]
    for run in list(reversed(before))[:LOOKED_BACK]:
        with contextlib.suppress(Exception):  # one that can't be read is compared with nothing
            yield run, read(run)
