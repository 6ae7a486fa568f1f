"""curves.png: the loss of every step that trained, and what the run used over time."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from gpulab.inside.metrics import series, step_counter, training_log
from gpulab.records.record import RunRecord


def logged(folder: Path, record: RunRecord, figures: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """The values of each figure that was logged, by step."""
    found = {name: {s.step: series(folder / s.step, name) for s in record.steps} for name in figures}
    found = {name: {step: values for step, values in by.items() if len(values) > 1} for name, by in found.items()}
    return {name: by for name, by in found.items() if by}


def draw(folder: Path, record: RunRecord, figures: Sequence[str] = ()) -> None:
    """Draw the run in `folder`, the lab's `figures` too; nothing where there is nothing to draw."""
    drawn = logged(folder, record, figures)
    losses = {s.step: training_log(folder / s.step) for s in record.steps}
    losses = {step: rows for step, rows in losses.items() if len(rows) > 1}
    usage = folder / "resources.csv"
    samples = list(csv.DictReader(usage.open(encoding="utf-8"))) if usage.is_file() else []
    if not losses and len(samples) < 2:
        return
    import matplotlib  # about half a second: only when there is something to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = 2 + len(drawn)
    figure, (left, *more, right) = plt.subplots(1, panels, figsize=(6 * panels, 4), layout="constrained")
    for axes, (name, by_step) in zip(more, drawn.items(), strict=True):
        for step, values in by_step.items():
            axes.plot(range(1, len(values) + 1), values, label=step)
        axes.set(title=name, xlabel="logged value")
        axes.legend()
    for step, rows in losses.items():
        counters = [step_counter(row) for row in rows]
        left.plot([c[0] if c else n for n, c in enumerate(counters, 1)], [row["loss"] for row in rows], label=step)
    left.set(title="Training loss", xlabel="step", ylabel="loss")
    if losses:
        left.legend()
    seconds = [float(s["seconds"]) for s in samples]
    right.plot(seconds, [float(s["rss_mib"]) / 1024 for s in samples], label="RSS (GiB)")
    if any(float(s["gpu_mib"]) for s in samples):
        right.plot(seconds, [float(s["gpu_mib"]) / 1024 for s in samples], label="GPU memory (GiB)")
    load = right.twinx()
    load.plot(seconds, [float(s["cpu_percent"]) for s in samples], color="grey", alpha=0.5, label="CPU (%)")
    for number, sample in enumerate(samples):
        if number == 0 or sample["step"] != samples[number - 1]["step"]:
            right.axvline(seconds[number], color="lightgrey", linewidth=0.8)
            right.text(seconds[number], 1.0, f" {sample['step']}", rotation=90, va="top", fontsize=7,
                       transform=right.get_xaxis_transform())  # fmt: skip
    right.set(title="Resources", xlabel="seconds", ylabel="memory (GiB)")
    load.set_ylabel("CPU (%, 100 = one core)")
    right.legend(loc="lower right")
    figure.suptitle(f"{record.run} ({record.profile})")
    figure.savefig(folder / "curves.png", dpi=110)
    plt.close(figure)
