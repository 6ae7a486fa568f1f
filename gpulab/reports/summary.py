"""Tables about runs: for the terminal, and as Markdown beside the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.common.paths import shown
from gpulab.records.record import RunRecord, StepRecord, Verdict

STATES = {
    "done": "green", "failed": "red", "interrupted": "yellow", "killed": "red", "unreadable": "red", "running": "cyan",
}  # fmt: skip


def state_text(state: str) -> Text:
    """A run's or step's state in its colour."""
    return Text(state, style=STATES.get(state, ""))


def figures(metrics: dict[str, Any]) -> str:
    """A step's metrics in a few words."""
    words = []
    if "loss_first" in metrics:
        words.append(f"loss {metrics['loss_first']:.3g} → {metrics['loss_last']:.3g}")
    words += [f"{name} {value:.3g}" for name, value in metrics.get("figures", {}).items()]
    if "exact_match" in metrics:
        words.append(f"exact match {metrics['exact_match']:.0%}")
    words += [f"{name} {score_text(score)}" for name, score in metrics.get("scores", {}).items()]
    words += [f"{level['tokens/s']:.4g} tokens/s at {concurrency}" for concurrency, level in
              metrics.get("bench", {}).items() if "tokens/s" in level]  # fmt: skip
    return ", ".join(words)


def score_text(score: dict[str, Any]) -> str:
    """A score of EvalScope's with its 95 % interval and how many questions it is of: 0.5 (0.28 to 0.72, 16 asked)."""
    interval = "{:.3g} to {:.3g}, ".format(*score["interval"]) if score["interval"] else ""
    return f"{score['score']:.3g} ({interval}{score['n']} asked)"


def run_table(record: RunRecord, folder: Path) -> Table:
    """A run's steps: state, time, figures, memory peak, proofs."""
    table = Table(
        title=f"{record.run} ({record.profile})",
        title_justify="left",
        caption=shown(folder),
        caption_justify="left",
    )
    for column in ("step", "state", "seconds", "figures", "peak RSS", "peak GPU"):
        table.add_column(column, justify="right" if column in ("seconds", "peak RSS", "peak GPU") else "left")
    for step in record.steps:
        peaks = step.peaks
        table.add_row(
            step.step,
            state_text(step.state),
            f"{step.seconds:.1f}",
            figures(step.metrics),
            f"{peaks.get('rss_mib', 0) / 1024:.1f} GiB",
            f"{peaks['gpu_mib'] / 1024:.1f} GiB" if peaks.get("gpu_mib") else "-",
        )
    for name, why in record.left_out.items():
        table.add_row(name, Text("left out", "yellow"), "", why)
    return table


def bench_table(levels: Mapping[str, Mapping[str, float]]) -> Table:
    """A load's figures, a column for each concurrency."""
    table = Table("at a time", *levels)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(name for level in levels.values() for name in level):
        cells = [f"{level[name]:.4g}" if name in level else "-" for level in levels.values()]
        table.add_row(name, *cells, style="red" if name == "failed" and any(cell != "0" for cell in cells) else "")
    return table


def judged_twice(record: RunRecord, first: Verdict) -> str:
    """That a run was judged again after its end, and how it was judged first."""
    why = f": {first.failures[0]}" if first.failures else ""
    return f"judged again {record.judged_again[:16]}; first it was {first.state}{why}"


def run_page(record: RunRecord, folder: Path) -> Group:
    """What is printed at a run's end: its steps, the comparison where the lab makes one, how to look closer."""
    closer = f"look closer: ./inv show {record.run}   reproduce: {again(record, folder)}"
    return Group(run_figures(record, folder), Text(closer, style="dim"))


def again(record: RunRecord, folder: Path) -> str:
    """The command that runs it again without this project's verbs."""
    return f"{'sbatch' if record.job else 'bash'} {shown(folder / 'plan.sh')}"


def run_figures(record: RunRecord, folder: Path) -> Group:
    """A run's steps, and what the lab compares."""
    parts: list[Any] = [run_table(record, folder)]
    parts += [bench_table(step.metrics["bench"]) for step in record.steps if "bench" in step.metrics]
    table = folder / "comparison.md"
    if table.is_file():
        parts.append(Text("\n" + table.read_text(encoding="utf-8").split("\n\n")[-1].rstrip()))
    return Group(*parts)


def headline(record: RunRecord) -> str:
    """One line on what a rehearsal showed and what it did not."""
    left_out = f", {', '.join(record.left_out)} left out" if record.left_out else ""
    return (
        f"rehearsed: {len(record.steps)} steps{left_out}, {len(record.proofs)} proofs hold; "
        "figures of a tiny twin, not of the model"
    )


COMPARED = {  # a row's name: where its figure stands in a step's entry
    "trainable parameters (M)": ("metrics", "trainable_m"),
    "all parameters (M)": ("metrics", "parameters_m"),
    "weights on disk (MiB)": ("metrics", "weights_mib"),
    "first loss": ("metrics", "loss_first"),
    "last loss": ("metrics", "loss_last"),
    "token accuracy": ("metrics", "token_acc"),
    "exact match": ("metrics", "exact_match"),
    "peak RSS (MiB)": ("peaks", "rss_mib"),
    "peak GPU memory (MiB)": ("peaks", "gpu_mib"),
}


def compared(steps: Sequence[StepRecord]) -> dict[str, float | None]:
    """Figures by row name, of steps that stand under one name: of each figure the last step's that has it, of memory
    the most, of seconds and bytes the sum; None for what no step has (a GPU's memory is 0 where there is none)."""
    found: dict[str, float | None] = {}
    for name, (part, key) in COMPARED.items():
        values = [value for step in steps if (value := getattr(step, part).get(key)) is not None]
        found[name] = (max(values) or None) if values and part == "peaks" else values[-1] if values else None
    for step in steps:
        found |= step.metrics.get("figures", {})
        for name, score in step.metrics.get("scores", {}).items():
            low, high = score["interval"] or (None, None)
            found |= {name: score["score"], f"{name}, 95% from": low, f"{name}, 95% to": high}
        for concurrency, level in step.metrics.get("bench", {}).items():
            found |= {f"{name} at {concurrency}": value for name, value in level.items()}
    size = sum(a["bytes"] for step in steps for a in step.artefacts) / 2**20
    return {**found, "seconds": sum(step.seconds for step in steps), "artefacts (MiB)": size}


def comparison(record: RunRecord, under: Mapping[str, Sequence[str]]) -> str:
    """What a lab compares, side by side, as a Markdown table: a name and the steps under it; only rows with figures."""
    entries = {name: [s for s in record.steps if s.step in steps] for name, steps in under.items()}
    entries = {name: steps for name, steps in entries.items() if steps}
    lines = [f"# {record.title}", "", f"Run {record.run}, profile {record.profile}.", ""]
    lines += ["| | " + " | ".join(entries) + " |", "|---|" + "---:|" * len(entries)]
    columns = [compared(steps) for steps in entries.values()]
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(name) for column in columns]
        if any(v is not None for v in values):
            lines.append(f"| {name} | " + " | ".join("" if v is None else f"{v:.4g}" for v in values) + " |")
    return "\n".join(lines) + "\n"
