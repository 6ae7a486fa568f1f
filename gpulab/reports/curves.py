"""curves.svg: the figures of every step that trained, and what the run used over time, its steps as a band above.

Written by hand: a drawing library takes longer to import than the rest of inv.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, isfinite, log10
from pathlib import Path

from gpulab.common.files import write_atomically
from gpulab.records.record import RunRecord
from gpulab.reports.series import Curve, Span, resources, training

WIDE, HIGH = 560, 410  # a panel
LEFT, RIGHT, TOP, BOTTOM = 64, 496, 64, 330  # where its curves lie
LETTER = 6  # about the width of a small letter
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
TICKS = 5  # at most, about


def draw(folder: Path, record: RunRecord, figures: Sequence[str] = ()) -> None:
    """Draw the run in `folder`, the lab's `figures` too; nothing where there is nothing to draw."""
    trained = training(folder, record)
    used, spans = resources(folder)
    if not trained.get("loss") and not used:
        return
    drawn = {name: trained[name] for name in dict.fromkeys(["loss", *figures]) if name in trained}
    panels = [list(panel(name, "step", {"": curves})) for name, curves in drawn.items()]
    panels.append([*panel("Resources", "seconds", used), *band(spans)])
    size = f"{WIDE * len(panels)} {HIGH + 30}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(WIDE * len(panels) / 2, 22, f"{record.run} ({record.profile})", 'text-anchor="middle" font-size="15"'),
    ]
    for number, lines in enumerate(panels):
        parts += [f'<g transform="translate({WIDE * number} 30)">', *lines, "</g>"]
    write_atomically(folder / "curves.svg", "\n".join([*parts, "</svg>\n"]))


def panel(title: str, x: str, by_unit: Mapping[str, Sequence[Curve]]) -> Iterator[str]:
    """Curves in a frame, those of a second unit dotted, its axis on the right; their names below."""
    yield f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="#999"/>'
    yield text((LEFT + RIGHT) / 2, TOP - 24, title, 'text-anchor="middle" font-size="13"')
    yield text(RIGHT, BOTTOM + 28, x, 'text-anchor="end"')
    low, high = reach([value for curves in by_unit.values() for curve in curves for value in curve.x])
    for tick in ticks(low, high):
        at = LEFT + (tick - low) / (high - low) * (RIGHT - LEFT)
        yield f'<path d="M{at:.1f} {BOTTOM}v4" stroke="#999"/>'
        yield text(at, BOTTOM + 15, f"{tick:g}", 'text-anchor="middle"')
    name_at, row, number = LEFT, BOTTOM + 46, 0
    for right, (unit, curves) in enumerate(by_unit.items()):
        bottom, top = reach([value for curve in curves for value in curve.y])
        edge, side = (RIGHT + 6, "start") if right else (LEFT - 6, "end")
        yield text(edge, TOP - 8, unit, f'text-anchor="{side}"')
        for tick in ticks(bottom, top):
            at = BOTTOM - (tick - bottom) / (top - bottom) * (BOTTOM - TOP)
            yield text(edge, at + 4, f"{tick:g}", f'text-anchor="{side}"')
        for curve in curves:
            colour = COLOURS[number % len(COLOURS)]
            number += 1
            points = [
                f"{LEFT + (x - low) / (high - low) * (RIGHT - LEFT):.1f},"
                f"{BOTTOM - (y - bottom) / (top - bottom) * (BOTTOM - TOP):.1f}"
                for x, y in zip(curve.x, curve.y, strict=True) if isfinite(x) and isfinite(y)
            ]  # fmt: skip
            dots = ' stroke-dasharray="2 2"' * bool(right)
            yield f'<polyline fill="none" stroke="{colour}" stroke-width="1.5"{dots} points="{" ".join(points)}"/>'
            if name_at > LEFT and name_at + len(curve.label) * LETTER > RIGHT:
                name_at, row = LEFT, row + 14
            yield text(name_at, row, curve.label, f'fill="{colour}"')
            name_at += (len(curve.label) + 3) * LETTER


def band(spans: Sequence[Span]) -> Iterator[str]:
    """The steps above the curves of what they used. A name that has no room is left out."""
    if not spans or spans[-1].end <= spans[0].start:
        return
    scale = (RIGHT - LEFT) / (spans[-1].end - spans[0].start)
    for number, span in enumerate(spans):
        at, wide = LEFT + (span.start - spans[0].start) * scale, (span.end - span.start) * scale
        shade = 0.35 if number % 2 else 0.15
        yield f'<rect x="{at:.1f}" y="{TOP}" width="{wide:.1f}" height="16" fill="{COLOURS[0]}" opacity="{shade}"/>'
        if wide > LETTER * len(span.step):
            yield text(at + wide / 2, TOP + 12, span.step, 'text-anchor="middle" font-size="9"')


def reach(values: Sequence[float]) -> tuple[float, float]:
    """From where to where an axis goes."""
    finite = [value for value in values if isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between."""
    step = 10.0 ** floor(log10((high - low) / TICKS))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (step * times) <= TICKS)
    return [round(n * step, 12) for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def text(x: float, y: float, words: str, style: str) -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'
