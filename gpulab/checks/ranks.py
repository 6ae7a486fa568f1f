"""Proofs about ranks that train together, from what each wrote down of itself (inside/rank_report.py)."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

from gpulab.checks.registry import Finished, Unproven, proof
from gpulab.inside.layout import AXES


@proof("every rank took part")
def every_rank(finished: Finished) -> str:
    """As many ranks as the plan has left their word, all of one process group of that size."""
    ranks = finished.ranks
    sizes = sorted({r["world_size"] for r in ranks})
    if [r["rank"] for r in ranks] != list(range(finished.world)) or sizes != [finished.world]:
        raise Unproven(f"{len(ranks)} of {finished.world} ranks left their word, world sizes {sizes}")
    nodes, backends = len({(r["host"], r["node_rank"]) for r in ranks}), {str(r["backend"]) for r in ranks}
    ways = sorted(set(re.findall(r"via (NET/\w+|P2P/\w+|SHM)", finished.log.read_text(errors="replace"))))
    return f"{len(ranks)} ranks on {nodes} node{'s' * (nodes > 1)} over {', '.join([*sorted(backends), *ways])}"


@proof("ranks hold the same weights")
def same_weights(finished: Finished) -> str:
    """What was trained is the same on every rank, to the bit: unsynchronised ranks drift apart."""
    sums = [r["weights"] for r in finished.ranks]
    if len(sums) < 2 or None in sums or len(set(sums)) > 1:
        raise Unproven(f"{len(sums)} ranks, {len(set(sums))} different weights")
    return f"the same weights on {len(sums)} ranks ({sums[0][:12]})"


@proof("each rank holds at most N% of the weights")
def weights_sharded(finished: Finished, share: float) -> str:
    """What is trained lies in shards on the ranks (ZeRO-3, FSDP2), and not as a whole on each."""
    return _shares(finished, "parameters_held", share, "the weights")


@proof("each rank holds at most N% of the experts")
def experts_sharded(finished: Finished, share: float) -> str:
    """A mixture's experts lie on several ranks (Megatron's expert parallelism), and not all of them on each."""
    return _shares(finished, "experts_held", share, "the experts")


@proof("each rank holds at most N% of the optimizer states")
def states_sharded(finished: Finished, share: float) -> str:
    """Adam's moments lie in shards on the ranks (ZeRO-1 to 3, FSDP2)."""
    return _shares(finished, "states_held", share, "the optimizer states")


@proof("each rank takes at most N% of the tokens")
def tokens_split(finished: Finished, share: float) -> str:
    """The ranks share each sequence (sequence parallelism): a rank's first layer sees a part of the model's input."""
    return _shares(finished, "tokens_taken", share, "the tokens it is given")


def _shares(finished: Finished, what: str, share: float, named: str) -> str:
    held = [r[what] for r in finished.ranks]
    if len(held) < 2 or len(held) != finished.world or not all(h and h <= share for h in held) or sum(held) < 0.99:
        raise Unproven(f"{len(held)} of {finished.world} ranks, with these shares of {named}: {held}")
    return f"each of {len(held)} ranks has at most {max(held):.0%} of {named}"


@proof("at most N% of the weights trained")
def few_trained(finished: Finished, share: float) -> str:
    """Of what each of Megatron's ranks holds, a tuner's weights alone are trained, and some are."""
    trained = [r["parameters_trained"] for r in finished.ranks]
    if not trained or not all(0 < part <= share for part in trained):
        raise Unproven(f"{len(trained)} ranks train these shares of what they hold: {trained}")
    return f"each rank trains at most {max(trained):.1%} of what it holds"


@proof("optimizer is NAME")
def optimizer_is(finished: Finished, name: str) -> str:
    """The optimizer's class, below whatever wraps it, as the training itself had it at its end: a flag that changes
    nothing does not hold."""
    classes = sorted({str(r["optimizer"]) for r in finished.ranks})
    if classes != [name]:
        raise Unproven(f"the optimizer is {', '.join(classes) or 'unknown: no rank left its word'}")
    return f"the optimizer is {name}"


@proof("data parallel by NAME")
def data_parallel_by(finished: Finished, name: str) -> str:
    """The class that Megatron has put around the model to keep its replicas alike, or its parts together."""
    classes = sorted({str(r["data_parallel"]) for r in finished.ranks})
    if len(finished.ranks) != finished.world or classes != [name]:
        raise Unproven(f"{len(finished.ranks)} of {finished.world} ranks, data parallel by {', '.join(classes)}")
    return f"data parallel by {name} on {finished.world} ranks"


@proof("each rank's model on several devices")
def spread_model(finished: Finished) -> str:
    """The layers of each rank's model lie on more than one device (device_map), and no two ranks share one."""
    devices = [(r["host"], device) for r in finished.ranks for device in r["devices"]]
    alone = [r["rank"] for r in finished.ranks if len(r["devices"]) < 2]
    if not devices or alone or len(set(devices)) < len(devices) or len(finished.ranks) != finished.world:
        raise Unproven(f"the devices of {len(finished.ranks)} ranks: {[r['devices'] for r in finished.ranks]}")
    return f"{len(devices)} devices for {finished.world} rank{'s' * (finished.world > 1)}"


@proof("laid out as asked")
def laid_out(finished: Finished) -> str:
    """Megatron shared the model out as ms-swift's args.json says: each rank stands in a place of its own, and there are
    as many in each dimension as were asked for."""
    asked = json.loads((finished.out / "args.json").read_text(encoding="utf-8"))
    ranks = [r["coordinates"] for r in finished.ranks]
    sizes = {name: count for name, (_, count) in ranks[0].items()}
    wrong = [axis for axis, flag in AXES.items() if sizes[axis] != asked[flag]]
    places = {tuple(place for name, (place, _) in rank.items() if not name.startswith("expert")) for rank in ranks}
    said = " x ".join(f"{name} {count}" for name, count in sizes.items() if count > 1) or "one rank"
    if wrong or len(ranks) != finished.world or len(places) != len(ranks):
        raise Unproven(
            f"{said} on {len(ranks)} of {finished.world} ranks in {len(places)} places, not as asked: {wrong}"
        )
    return said


@proof("stages interleaved as asked")
def interleaved(finished: Finished) -> str:
    """Each of Megatron's pipeline ranks has as many virtual stages as ms-swift's args.json says, and between two of
    them lie layers of other ranks: with one stage a rank has layers that follow each other."""
    asked = (finished.args or {}).get("virtual_pipeline_model_parallel_size") or 1
    ranks = [r["layers"] for r in finished.ranks]
    torn = [a[-1] + 1 < b[0] for stages in ranks for a, b in pairwise(stages)]
    counts = sorted({len(stages) for stages in ranks})
    if asked < 2 or counts != [asked] or not all(torn):
        raise Unproven(f"asked for {asked} virtual stages, the ranks have {counts}; rank 0 has layers {ranks[:1]}")
    return f"{asked} virtual stages on each of {len(ranks)} ranks, rank 0 has layers {ranks[0]}"


# Which ranks hold the same part of a Megatron model: those in one place in these dimensions. Experts, which a rank's
# report tells of apart, lie in another grid than all else.
REPLICAS = {"weights": ("tensor", "pipeline"), "experts": ("expert_tensor", "expert", "pipeline")}


@proof("replicas hold the same weights")
def same_replicas(finished: Finished) -> str:
    """Of Megatron's ranks those that hold the same part of the model, or the same experts, hold it to the bit."""
    parts: dict[Any, list[str]] = {}
    for rank in finished.ranks:
        for what, axes in REPLICAS.items():
            if rank.get(what):
                place = tuple((axis, rank["coordinates"][axis][0]) for axis in axes)
                parts.setdefault((what, place), []).append(rank[what])
    torn = [f"{what} of {dict(place)}" for (what, place), sums in parts.items() if len(set(sums)) > 1]
    several = [what for (what, _), sums in parts.items() if len(sums) > 1]
    if torn or not several:
        raise Unproven(f"{len(several)} parts have replicas on {len(finished.ranks)} ranks; different: {torn}")
    experts = f", {several.count('experts')} of them of experts" if "experts" in several else ""
    parts_of = f"{len(several)} part{'s' * (len(several) > 1)} of the model{experts}"
    return f"{parts_of}, the same on all of their {len(finished.ranks)} ranks"
