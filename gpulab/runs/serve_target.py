"""What `inv serve` was given: a folder, a run, or a hub's id -> a model, or an adapter and the model below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.plan.adapter_fit import CONFIG, base_of, misfit
from gpulab.records.read import find_run, read

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Target:
    """A model, or an adapter that goes into it, and what clients may call it."""

    model: str
    adapter: Path | None
    name: str

    @property
    def adapters(self) -> list[Path]:
        """The adapter, where it is one."""
        return [self.adapter] if self.adapter else []

    @property
    def is_here(self) -> bool:
        """Whether no hub is asked for it."""
        return bool(self.adapter) or Path(self.model).is_dir()

    @property
    def words(self) -> list[str]:
        """For ms-swift. What its checkpoint says of the model (template, task) it reads by itself."""
        return ["--adapters", str(self.adapter)] if self.adapter else ["--model", self.model]


def target(given: str) -> Target:
    """Raises UsageError where nothing of that name can be served."""
    if Path(given).is_dir():
        return _of_folder(Path(given).resolve(), Path(given).resolve().name)
    try:
        folder = find_run(given)
    except UsageError as error:
        if HUB_ID.fullmatch(given):
            return Target(given, None, given.partition("/")[2])
        raise UsageError(f"nothing to serve: {error.message}", f"{error.cure}, a folder, or ORG/NAME") from None
    record = read(folder)
    for step in reversed(record.steps):
        if found := _in_step(folder / step.step):
            return _of_folder(found, record.lab.partition("/")[2])
    raise UsageError(f"{record.run} made no model and no adapter", "name a run that trained or merged one: ./inv runs")


def adapters(given: Sequence[str], model: str) -> dict[str, str]:
    """`NAME=FOLDER` or `NAME=RUN` words: the folder by name. Raises UsageError for one that is not of this model."""
    found: dict[str, str] = {}
    for word in given:
        name, _, where = word.partition("=")
        if not name or not where or name in found:
            raise UsageError(
                f"--adapter {word}: not NAME=FOLDER, or a name twice", "--adapter capitals=runs/.../last-checkpoint"
            )
        one = target(where)
        if not one.adapter:
            raise UsageError(f"--adapter {word}: {where} is a model, not an adapter", "name a checkpoint's folder")
        if why := misfit(one.adapter, model):
            raise UsageError(
                f"--adapter {word}: it is no adapter of {model}: {why}", "take the model that it was trained on"
            )
        found[name] = str(one.adapter)
    return found


def _of_folder(folder: Path, name: str) -> Target:
    if (folder / CONFIG).is_file():
        model = base_of(folder)
        if why := misfit(folder, model) if model else "nobody noted down of which model":
            raise UsageError(
                f"{folder} is no adapter of {model or 'anything'}: {why}", "name the model, and --adapter NAME=FOLDER"
            )
        return Target(model, folder, name)
    if (folder / "config.json").is_file():
        return Target(str(folder), None, name)
    raise UsageError(
        f"{folder} holds no model and no adapter", "name the folder with config.json or adapter_config.json"
    )


def _in_step(out: Path) -> Path | None:
    """The model or adapter that a step made."""
    last = out / "last-checkpoint"
    if (last / CONFIG).is_file() or (last / "config.json").is_file():
        return last.resolve()
    return next((file.parent for file in sorted(out.glob("*/config.json"))), None)
