"""What `inv plan` prints, and its data for --json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpulab.inside.layout import Layout
from gpulab.lab.lab import Lab
from gpulab.plan.plan import RENDEZVOUS
from gpulab.runs.planned_step import Cluster, Planned

SHOWN = 32  # ranks that are printed; --json has all


def plan_data(lab: Lab, cluster: Cluster, steps: list[Planned]) -> dict[str, Any]:
    """For --json."""
    return {
        "lab": lab.name, "model": lab.model, "known_from": cluster.known,
        "gpus_per_node": cluster.devices.count, "vram_gib": cluster.devices.vram_gib,
        "steps": [
            {
                "step": s.step, "argv": list(s.command.argv), "nodes": s.nodes, "rendezvous": _rendezvous(s, cluster),
                "layout": _layout_data(s.layout), "memory_gib": s.memory.as_dict() if s.memory else None,
                "fits": not s.failure if s.memory else None, "ranks": s.ranks,
            }
            for s in steps
        ],
    }  # fmt: skip


def _layout_data(layout: Layout | None) -> dict[str, Any] | None:
    if layout is None:
        return None
    sizes = {axis: getattr(layout, axis) for axis in ("tensor", "pipeline", "context", "expert", "expert_tensor")}
    return {**sizes, "data": layout.data, "expert_data": layout.expert_data, "reasons": list(layout.reasons)}


def _rendezvous(step: Planned, cluster: Cluster) -> dict[str, Any] | None:
    """Where a spread step's nodes meet, as far as it is known; None for a step on one node."""
    master = cluster.nodes[0]
    if step.command.rank is None or not master.address:
        return None
    return {"address": master.address, "port": int(RENDEZVOUS), "interface": master.interface or None}


def plan_page(lab: Lab, cluster: Cluster, steps: list[Planned]) -> Group:
    """For people."""
    devices = cluster.devices
    gpus = f"{devices.count} GPU{'s' * (devices.count > 1)} of {devices.vram_gib:g} GiB"
    parts: list[Any] = [
        Text.assemble((lab.name, "bold"), f" {lab.title}"),
        Text(f"{len(cluster.nodes)} node{'s' * (len(cluster.nodes) > 1)} with {gpus} each ({cluster.known})"),
    ]
    for step in steps:
        parts += ["", Text.assemble((step.step, "bold"), ": ", " ".join(step.command.argv[:2]))]
        parts += _step_lines(step, cluster)
    return Group(*parts)


def _step_lines(step: Planned, cluster: Cluster) -> list[Any]:
    lines: list[Any] = [_rank_table(step.ranks)] if step.memory or step.layout or len(step.ranks) > 1 else []
    if meets := _rendezvous(step, cluster):
        over = f" over {meets['interface']}" if meets["interface"] else ""
        lines.append(Text(f"meet at {meets['address']}:{meets['port']}{over}"))
    lines += [Text(reason) for reason in step.layout.reasons] if step.layout else []
    if step.memory:
        kinds = [f"{name} {value:g}" for name, value in step.memory.as_dict().items() if value and name != "total"]
        verdict = ("does not fit", "red") if step.failure else ("fits", "green")
        held = ", ".join(kinds) or "the model is on the CPU"
        text = f"memory of a GPU: about {step.memory.total:.1f} of {cluster.devices.vram_gib:g} GiB ({held}) "
        lines.append(Text.assemble(text, verdict if cluster.devices.vram_gib else ""))
    elif step.command.argv[0] in ("swift", "megatron"):
        lines.append(Text("memory: no estimate for this command or model", style="dim"))
    return lines


def _rank_table(ranks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ranks[0]:
        table.add_column(column.replace("_", " "), justify="left" if column == "node" else "right")
    head, tail = (ranks[: SHOWN - 8], ranks[-8:]) if len(ranks) > SHOWN else (ranks, [])
    for row in head:
        table.add_row(*_cells(row))
    if tail:
        table.add_row("...", f"{len(ranks) - SHOWN} more")
        for row in tail:
            table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [",".join(map(str, value)) if isinstance(value, list) else str(value) for value in row.values()]
