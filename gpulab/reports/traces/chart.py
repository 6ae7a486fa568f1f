"""Main lines as Markdown: Mermaid's flow charts, and the same as tables."""

from __future__ import annotations

from collections.abc import Sequence

from gpulab.reports.traces.boxes import Box, shortened, stages

SHORT = 44  # letters of a name in a box


def escaped(text: str) -> str:
    """Text inside of a box: Mermaid reads quotes and angle brackets."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def label(box: Box, *, timed: bool) -> str:
    """What a box says."""
    name = box.call.name if len(box.call.name) <= SHORT else f"{box.call.name[: SHORT - 1]}…"
    time = f", {box.seconds:.1f} s" if timed and box.seconds >= 0.1 else ""
    return f"{escaped(box.station.en)}<br/><b>{escaped(name)}</b><br/>{escaped(box.call.place)}{time}"


def flow_chart(boxes: Sequence[Box], *, timed: bool = False) -> str:
    """The boxes from top to bottom, those of one stage in a frame."""
    lines, number = ["```mermaid", "flowchart TD"], 0
    for place, (stage, group) in enumerate(stages(shortened(boxes)), 1):
        lines.append(f'  subgraph s{place} ["{escaped(stage)}"]')
        for box in group:
            number += 1
            lines.append(f'    b{number}["{label(box, timed=timed)}"]')
        lines.append("  end")
    lines += [f"  b{n} --> b{n + 1}" for n in range(1, number)]
    return "\n".join([*lines, "```"])


def table(boxes: Sequence[Box], *, timed: bool = False) -> str:
    """The boxes as rows."""
    head = ["#", "stage", "what", "", "function", "where", *(["seconds"] if timed else [])]
    rows = [
        [str(n), box.stage, box.station.en, box.station.zh, f"`{box.call.name}`", f"`{box.call.place}`",
         *([f"{box.seconds:.2f}"] if timed else [])]
        for n, box in enumerate(boxes, 1)
    ]  # fmt: skip
    return markdown(head, rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
