"""Where two traced steps part: their main lines beside each other, and the functions that call different ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from gpulab.reports.traces.boxes import Box, shortened
from gpulab.reports.traces.chart import label, markdown
from gpulab.reports.traces.read import Trace

MOST = 40  # rows of functions that call different ones
SWITCHES = ("swift/", "accelerate/", "deepspeed/runtime/engine.py")  # whose functions choose
PASSES_ON = ".__getattr__"


@dataclass(frozen=True)
class Pair:
    """What stands side by side: the same box of both, or one of one side."""

    left: Box | None
    right: Box | None


@dataclass(frozen=True)
class Parting:
    """A function of both, and what it calls in one of them alone: names and places."""

    function: tuple[str, str]
    left: Sequence[tuple[str, str]]
    right: Sequence[tuple[str, str]]


def beside(left: Sequence[Box], right: Sequence[Box]) -> list[Pair]:
    """The two main lines as one sequence."""
    left, right = shortened(left), shortened(right)
    pairs: list[Pair] = []
    matcher = SequenceMatcher(None, [b.call.function for b in left], [b.call.function for b in right], autojunk=False)
    for kind, i, to_i, j, to_j in matcher.get_opcodes():
        if kind == "equal":
            pairs += [Pair(a, b) for a, b in zip(left[i:to_i], right[j:to_j], strict=True)]
        else:
            pairs += [Pair(box, None) for box in left[i:to_i]] + [Pair(None, box) for box in right[j:to_j]]
    return pairs


def flow_chart(pairs: Sequence[Pair]) -> str:
    """One chart of both: where they part there are two columns, the left one's boxes and the right one's."""
    lines = ["```mermaid", "flowchart TD"]
    arrows: list[str] = []
    last: dict[str, str] = {}
    for number, pair in enumerate(pairs, 1):
        box, name = pair.left or pair.right, f"b{number}"
        assert box  # noqa: S101 (one of them is there)
        sides = [side for side, there in (("left", pair.left), ("right", pair.right)) if there]
        kind = "both" if len(sides) == 2 else sides[0]
        lines.append(f'  {name}["{label(box, timed=False)}"]:::{kind}')
        arrows += list(dict.fromkeys(f"  {last[side]} --> {name}" for side in sides if side in last))
        last |= dict.fromkeys(sides, name)
    fills = {"left": "#fde2cf,stroke:#b45309", "both": "#eee,stroke:#666", "right": "#d5e8fb,stroke:#1d4ed8"}
    colours = [f"  classDef {kind} fill:{fill},color:#000" for kind, fill in fills.items()]
    return "\n".join([*lines, *arrows, *colours, "```"])


def table(pairs: Sequence[Pair], names: tuple[str, str]) -> str:
    """The same as rows."""
    return markdown(["what", *names], [[(p.left or p.right).station.en, where(p.left), where(p.right)] for p in pairs])  # type: ignore[union-attr]


def where(box: Box | None) -> str:
    """A box as a cell."""
    return f"`{box.call.name}` `{box.call.place}`" if box else ""


def partings(left: Trace, right: Trace) -> list[Parting]:
    """The functions that both call and that call different ones, in the order of the left one."""
    calls, others = callees(left), callees(right)
    found = []
    for function, called in calls.items():
        if function in others and called.keys() != others[function].keys():
            only = [(name, place) for (_, name), place in called.items() if (_, name) not in others[function]]
            other = [(name, place) for (_, name), place in others[function].items() if (_, name) not in called]
            found.append(Parting(function, only, other))
    return found


def callees(trace: Trace) -> dict[tuple[str, str], dict[tuple[str, str], str]]:
    """What each function that chooses calls, and where that is defined: of ms-swift, of accelerate (DDP, FSDP or
    DeepSpeed), of DeepSpeed's engine (the ZeRO stage). A wrapper that only passes a name on, as peft's model does, is
    no parting: what it wraps is."""
    found: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for call in trace.calls:
        if call.file.startswith(SWITCHES):
            below = {b.function: b.place for b in call.below if not b.name.endswith(PASSES_ON)}
            found.setdefault(call.function, {}).update(below)
    return found


def cell(calls: Sequence[tuple[str, str]]) -> str:
    """Functions and where they are, as a cell."""
    return "<br/>".join(f"`{name}` `{place}`" for name, place in calls)


def page(names: tuple[str, str], commands: tuple[str, str], traces: tuple[Trace, Trace], pairs: Sequence[Pair]) -> str:
    """The page of both."""
    rows = partings(*traces)
    more = f"\n\n{len(rows) - MOST} more functions do so." if len(rows) > MOST else ""
    parts = [
        f"# Where {names[0]} and {names[1]} part",
        *(f"{name}:\n```\n{command}\n```" for name, command in zip(names, commands, strict=True)),
        "## Main lines", f"Orange is {names[0]} alone, blue {names[1]} alone.", flow_chart(pairs), table(pairs, names),
        "## Functions that call different ones", "The same function in both, in the order in which it ran.",
        markdown(["function", f"only {names[0]}", f"only {names[1]}"],
                 [[cell([(p.function[1], p.function[0])]), cell(p.left), cell(p.right)] for p in rows[:MOST]]) + more,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"
