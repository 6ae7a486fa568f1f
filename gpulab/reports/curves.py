"""curves.png: the figures of every step that trained, and what the run used over time, its steps as a band above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.records.record import RunRecord
from gpulab.reports.series import LOAD, MEMORY, Curve, Span, resources, training

LETTER = 0.012  # of the panel's width, a small letter


def draw(folder: Path, record: RunRecord, figures: Sequence[str] = ()) -> None:
    """Draw the run in `folder`, the lab's `figures` too; nothing where there is nothing to draw."""
    trained = training(folder, record)
    losses = trained.get("loss", [])
    used, spans = resources(folder)
    if not losses and not used:
        return
    import matplotlib  # about half a second: only when there is something to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn = {"loss": losses, **{name: trained[name] for name in figures if name in trained}}
    panels = len(drawn) + 1
    figure, axes = plt.subplots(1, panels, figsize=(6 * panels, 4), layout="constrained")
    for panel, (name, curves) in zip(axes, drawn.items(), strict=False):
        for curve in curves:
            panel.plot(curve.x, curve.y, label=curve.label)
        panel.set(title=name, xlabel="step")
        if curves:
            panel.legend(fontsize=7)
    _resources(axes[-1], used, spans)
    figure.suptitle(f"{record.run} ({record.profile})")
    figure.savefig(folder / "curves.png", dpi=110)
    plt.close(figure)


def _resources(axes: Any, used: dict[str, list[Curve]], spans: Sequence[Span]) -> None:
    for curve in used.get(MEMORY, []):
        axes.plot(curve.x, curve.y, label=curve.label)
    load = axes.twinx()
    for curve, colour in zip(used.get(LOAD, []), ("grey", "green"), strict=False):
        load.plot(curve.x, curve.y, alpha=0.5, linestyle=":", color=colour, label=curve.label)
    whole = spans[-1].end - spans[0].start if spans else 0
    for number, span in enumerate(spans):
        axes.axvspan(span.start, span.end, ymin=0.94, color="tab:blue", alpha=0.15 + 0.2 * (number % 2), linewidth=0)
        if whole and (span.end - span.start) / whole > LETTER * len(span.step):  # a name that has no room is left out
            axes.text((span.start + span.end) / 2, 0.97, span.step, fontsize=7, ha="center", va="center",
                      transform=axes.get_xaxis_transform())  # fmt: skip
    axes.margins(y=0.12)
    axes.set(title="Resources", xlabel="seconds", ylabel=MEMORY)
    load.set(ylabel=LOAD, ylim=(0, None))
    load.margins(y=0.12)
    if used:
        axes.legend(loc="lower left", fontsize=7)
        load.legend(loc="lower right", fontsize=7)
