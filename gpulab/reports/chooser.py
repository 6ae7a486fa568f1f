"""docs/chooser.md, made of ms-swift's flags and chooser.yml: python -m gpulab.reports.chooser"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gpulab.common.files import write_atomically
from gpulab.common.paths import ROOT
from gpulab.common.yamlfile import load_as
from gpulab.lab.flags import known_flags
from gpulab.lab.lab import lab_names
from gpulab.reports.traces.chart import markdown

PAGE = ROOT / "docs" / "chooser.md"
SERVES, EXPORTS = "swift deploy", "swift export"
OLD = {"pt"}  # another name of transformers
NOT_METHODS = {"none", "merge"}  # forms of weights that no --quant_method makes
Word = Literal["run", "code", "upstream"]
HEAD = """\
<!-- Made by `python -m gpulab.reports.chooser` from docker/flags.json and gpulab/reports/chooser.yml. -->
# Which backend, which weights

Begin with transformers and the weights as trained, measure (`./inv bench`, `./inv eval`), then take what is missing:
speed by many requests is vLLM's, memory is quantization's. `./inv serve MODEL --backend BACKEND` starts each,
`--set FLAG=VALUE` sets a switch. *run*: it was run on a CPU where this was written, most of it by the lab beside it;
*code*: it is read in ms-swift's own code; *upstream*: upstream says so, and it was not run here.
"""


class Strict(BaseModel):
    """An unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid")


class BackendFacts(Strict):
    """What is to be known of a backend, and the flags that matter, by what they are for."""

    take: str
    adapters: str
    tasks: str
    sees: str
    gpus: str
    cpu: str
    word: Word
    switches: dict[str, list[str]]


class Weights(Strict):
    """A form of weights: how it is made, when it is taken, which backends load it and who says so, the lab."""

    made: str
    take: str
    loads: dict[str, Word]
    lab: str


class Chooser(Strict):
    """chooser.yml."""

    backends: dict[str, BackendFacts]
    weights: dict[str, Weights]
    on_load: dict[str, str]


def page(written: Chooser, flags: Mapping[str, Mapping[str, Any]]) -> str:
    """The page. Raises KeyError where it is not about what ms-swift has: a backend, a method, a flag, a lab."""
    serves, exports = flags[SERVES], flags[EXPORTS]
    same("backends", written.backends, set(serves["infer_backend"]) - OLD)
    same("methods of export", set(written.weights) - NOT_METHODS, exports["quant_method"])
    same("methods of loading", written.on_load, serves["quant_method"])
    parts = [
        HEAD.rstrip(), "## Backends", backends(written), "## Weights", weights(written),
        "Quantized while it is loaded, by transformers alone (`--set quant_method=bnb --set quant_bits=4`):",
        markdown(["method", "what it gives"], [[f"`{name}`", what] for name, what in written.on_load.items()]),
        "## Switches", "Of `swift infer` and `swift deploy`, with what they take:", switches(written, serves),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def same(what: str, told: Any, there: Any) -> None:
    """Raise KeyError where what is told of and what ms-swift has are not the same."""
    if differ := set(told) ^ set(there):
        raise KeyError(f"{what}: {', '.join(sorted(differ))} in only one of chooser.yml and docker/flags.json")


def backends(written: Chooser) -> str:
    """A column for each backend."""
    rows = {
        "take it for": "take", "adapters": "adapters", "tasks": "tasks", "pictures, sound": "sees",
        "several GPUs": "gpus", "on a CPU": "cpu", "who says so": "word",
    }  # fmt: skip
    table = [[f"**{title}**", *(getattr(b, field) for b in written.backends.values())] for title, field in rows.items()]
    return markdown(["", *(f"`{name}`" for name in written.backends)], table)


def weights(written: Chooser) -> str:
    """A row for each form of weights, a column for each backend that loads it."""
    known = lab_names()
    rows = []
    for name, form in written.weights.items():
        if form.lab not in known:
            raise KeyError(f"{name}: no lab {form.lab}")
        loads = [form.loads.get(backend, "") for backend in written.backends]
        rows.append([f"**{name}**", form.made, form.take, *loads, f"[{form.lab}](../labs/{form.lab}/README.md)"])
    return markdown(["weights", "made by", "take it for", *written.backends, "lab"], rows)


def switches(written: Chooser, flags: Mapping[str, Any]) -> str:
    """The flags of each backend, as the argument class has them."""
    rows = []
    for name, backend in written.backends.items():
        for purpose, some in backend.switches.items():
            rows += [[f"`{name}`", purpose, f"`--{flag}`", values(flags[flag])] for flag in some]
    return markdown(["backend", "for", "flag", "takes"], rows)


def values(kind: Any) -> str:
    """What a flag takes."""
    return ", ".join(kind) if isinstance(kind, list | tuple) else kind or "text"


def written_page() -> str:
    """The page as it is to be today."""
    return page(load_as(Chooser, Path(__file__).with_suffix(".yml")), known_flags())


def main() -> None:
    """Write the page."""
    write_atomically(PAGE, written_page())


if __name__ == "__main__":
    main()
