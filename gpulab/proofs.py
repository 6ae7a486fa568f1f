"""`proves`: was the feature active? A proof is a phrase of lab.yaml and a look at evidence, never an exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpulab.answers import answers_in, exact_match, without_thought
from gpulab.errors import UsageError, nearest
from gpulab.layout.layout import AXES
from gpulab.metrics import parameters, step_counter, training_log
from gpulab.yamlfile import fault

ADAPTER = "last-checkpoint/adapter_model.safetensors"


@dataclass(frozen=True)
class Finished:
    """What a proof may look at: the step's folder and log, the folders of the steps before it, how many processes were
    to train."""

    out: Path
    log: Path
    run: Path
    model: str
    world: int = 1

    @property
    def ranks(self) -> list[dict[str, Any]]:
        """What each rank wrote down of itself (witness.py), by rank."""
        files = sorted((self.out / "ranks").glob("*.json"), key=lambda f: int(f.stem))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    @property
    def base(self) -> Path:
        """The folder of the model that was trained: ms-swift's args.json names it; else the run's model."""
        for args in (self.out / "args.json", *sorted(self.out.glob("*/args.json"))):
            if args.is_file():
                return Path(json.loads(args.read_text(encoding="utf-8"))["model_dir"])
        return Path(self.model)


class Unproven(Exception):
    """The evidence is missing or says no; the message is the evidence."""


Prove = Callable[..., str]
PROOFS: dict[str, Prove] = {}


def proof(phrase: str) -> Callable[[Prove], Prove]:
    """Register a proof. `N%` in the phrase is a share, `STEP` an earlier step: they come as arguments, in order."""

    def register(function: Prove) -> Prove:
        PROOFS[phrase] = function
        return function

    return register


def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(re.escape(phrase).replace("N%", r"(?P<share>[\d.]+)%").replace("STEP", r"(?P<step>[\w-]+)"))


def find(phrase: str) -> tuple[Prove, dict[str, Any]] | None:
    """The proof of a phrase and its arguments; None for an unknown one."""
    for known, function in PROOFS.items():
        if match := _pattern(known).fullmatch(phrase):
            found: dict[str, Any] = match.groupdict()
            if "share" in found:
                found["share"] = float(found["share"]) / 100
            return function, found
    return None


def check_phrase(phrase: str, path: Path, where: Sequence[str | int], earlier: list[str]) -> None:
    """Raise UsageError with file and line when lab.yaml asks for a proof that there is none of."""
    found = find(phrase)
    if not found:
        raise fault(path, where, f"no proof {phrase!r}", nearest(phrase, list(PROOFS)))
    step = found[1].get("step")
    if step is not None and step not in earlier:
        raise fault(path, where, f"{phrase!r} refers to {step!r}, which is no earlier step", nearest(step, earlier))


def prove(phrase: str, finished: Finished) -> tuple[bool, str]:
    """(whether it holds, the evidence in a line). What breaks on missing or torn evidence does not hold."""
    found = find(phrase)
    if not found:
        raise KeyError(phrase)
    function, arguments = found
    try:
        return True, function(finished, **arguments)
    except (Unproven, UsageError) as error:
        return False, str(error)
    except (OSError, KeyError, ValueError, IndexError) as error:
        return False, f"no evidence: {type(error).__name__}: {error}"


def _weights(path: Path) -> Any:
    from gpulab.weights import Weights  # numpy: imported when a proof needs it

    return Weights(path)


@proof("loss falls")
def loss_falls(finished: Finished) -> str:
    """The mean loss of the last quarter of the logged steps is below that of the first quarter."""
    losses = [row["loss"] for row in training_log(finished.out)]
    if len(losses) < 2:
        raise Unproven(f"{len(losses)} losses in logging.jsonl: too few to compare")
    quarter = max(1, len(losses) // 4)
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    if not last < first:
        raise Unproven(f"loss {first:.4g} -> {last:.4g} over {len(losses)} logged steps")
    return f"loss {first:.4g} -> {last:.4g} over {len(losses)} logged steps"


@proof("only lora weights trained")
def only_lora(finished: Finished) -> str:
    """The checkpoint holds nothing but LoRA tensors, and ms-swift counted fewer trainable parameters than all."""
    names = _weights(finished.out / ADAPTER).names
    other = [n for n in names if ".lora_" not in n]
    if other or not names:
        raise Unproven(f"{len(other)} of {len(names)} saved tensors are not LoRA's, {other[:1]}")
    counts = parameters(finished.out)
    if not counts or not 0 < counts[1] < counts[0]:
        raise Unproven(f"ms-swift counted {counts} million parameters (all, trainable)")
    return f"{len(names)} LoRA tensors saved, {counts[1]:g} of {counts[0]:g} million parameters trainable"


@proof("adapter moved")
def adapter_moved(finished: Finished) -> str:
    """LoRA's B matrices start as zeros: after training every one of them holds something else."""
    weights = _weights(finished.out / ADAPTER)
    matrices = [n for n in weights.names if ".lora_B" in n or ".lora_embedding_B" in n]
    moved = [n for n in matrices if any(weights.raw(n))]
    if not matrices or len(moved) < len(matrices):
        raise Unproven(f"{len(moved)} of {len(matrices)} B matrices differ from their initial zeros")
    return f"all {len(matrices)} B matrices differ from their initial zeros"


@proof("dora magnitudes moved")
def dora_moved(finished: Finished) -> str:
    """DoRA's magnitude vectors start as the norms of the base weights' rows: after training they differ."""
    import numpy as np

    adapter, base = _weights(finished.out / ADAPTER), _weights(finished.base)
    vectors = [n for n in adapter.names if "lora_magnitude_vector" in n]
    moved = []
    for name in vectors:
        weight = name.removeprefix("base_model.model.").split(".lora_magnitude_vector")[0] + ".weight"
        initial = np.linalg.norm(base.array(weight), axis=1)
        if not np.allclose(adapter.array(name).ravel(), initial, rtol=1e-4, atol=1e-6):
            moved.append(name)
    if not vectors or not moved:
        raise Unproven(f"{len(moved)} of {len(vectors)} magnitude vectors differ from the base weights' norms")
    return f"{len(moved)} of {len(vectors)} magnitude vectors differ from the base weights' norms"


@proof("all weights trained")
def all_weights(finished: Finished) -> str:
    """A full checkpoint in which every tensor differs from the base model's."""
    changed, same = _weights(finished.out / "last-checkpoint").changed_from(_weights(finished.base))
    if same or not changed:
        raise Unproven(f"{len(same)} of {len(changed) + len(same)} tensors are as they were, {same[:1]}")
    return f"all {len(changed)} tensors differ from the base model's"


@proof("adapter merged")
@proof("a whole model retrained")
def merged(finished: Finished) -> str:
    """A whole model, the same tensors as the base, no adapter left, and some of them changed."""
    folder = next((f.parent for f in sorted(finished.out.rglob("config.json"))), finished.out)
    weights, base = _weights(folder), _weights(finished.base)
    changed, same = weights.changed_from(base)
    left = [n for n in weights.names if "lora_" in n]
    missing = sorted(set(base.names) - set(weights.names))
    if left or missing or not changed:
        raise Unproven(
            f"{len(changed)} tensors changed, {len(left)} of an adapter left, {len(missing)} of the base missing"
        )
    return f"{len(changed)} of {len(changed) + len(same)} tensors differ from the base model's, none of an adapter left"


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
    places = {tuple(place for name, (place, _) in rank.items() if name != "expert") for rank in ranks}
    said = " x ".join(f"{name} {count}" for name, count in sizes.items() if count > 1) or "one rank"
    if wrong or len(ranks) != finished.world or len(places) != len(ranks):
        raise Unproven(
            f"{said} on {len(ranks)} of {finished.world} ranks in {len(places)} places, not as asked: {wrong}"
        )
    return said


@proof("replicas hold the same weights")
def same_replicas(finished: Finished) -> str:
    """Of Megatron's ranks those that differ in their data alone hold the same part of the model, to the bit."""
    parts: dict[Any, list[str]] = {}
    for rank in finished.ranks:
        place = tuple((name, at) for name, (at, _) in rank["coordinates"].items() if name not in ("data", "context"))
        parts.setdefault(place, []).append(rank["weights"])
    torn = [dict(place) for place, sums in parts.items() if len(set(sums)) > 1]
    if torn or not parts or any(len(sums) < 2 for sums in parts.values()):
        raise Unproven(f"{len(parts)} parts of the model on {len(finished.ranks)} ranks; different at {torn}")
    return f"{len(parts)} parts of the model, the same on all of their {len(finished.ranks)} ranks"


@proof("converted without loss")
def converted(finished: Finished) -> str:
    """`megatron export --test_convert_precision true`: the logits of both forms differ by less than ms-swift's bound of
    0.1 in the mean, and no token differs where the loss counts."""
    log = finished.log.read_text(encoding="utf-8", errors="replace")
    mean = re.search(r"mean_diff \(with loss\): ([\d.e+-]+)", log)
    tokens = re.search(r"token_diff \(with loss\): (\d+)", log)
    if not mean or not tokens or not float(mean[1]) < 0.1 or int(tokens[1]):
        raise Unproven(f"{mean[0] if mean else 'no mean_diff'}; {tokens[0] if tokens else 'no token_diff'}")
    return f"the logits of both forms differ by {float(mean[1]):.2g} in the mean, no token does"


@proof("loss as in STEP to N%")
def same_loss(finished: Finished, step: str, share: float) -> str:
    """Every logged loss is that of an earlier step with the same global batch, to a share of that step's mean loss."""
    before, after = ([r["loss"] for r in training_log(out)] for out in (finished.run / step, finished.out))
    if not before or len(before) != len(after):
        raise Unproven(f"{len(before)} losses in {step}, {len(after)} now")
    worst = max(abs(a - b) for a, b in zip(after, before, strict=True)) / (sum(before) / len(before))
    if worst > share:
        raise Unproven(f"a loss differs from {step}'s by {worst:.2%} of the mean loss")
    return f"{len(after)} losses as in {step}, to {worst:.2%} of the mean loss"


@proof("exact match at least N%")
def match_at_least(finished: Finished, share: float) -> str:
    """The answers are the right ones, to the letter."""
    answers = answers_in(finished.out)
    match = exact_match(answers)
    if match is None or match < share:
        raise Unproven(f"{sum(a.right for a in answers)} of {len(answers)} answers right")
    return f"{sum(a.right for a in answers)} of {len(answers)} answers right"


@proof("exact match above STEP")
def match_above(finished: Finished, step: str) -> str:
    """More answers are right than in an earlier step."""
    before, after = exact_match(answers_in(finished.run / step)), exact_match(answers_in(finished.out))
    if before is None or after is None or not after > before:
        raise Unproven(f"exact match {_percent(before)} in {step}, {_percent(after)} now")
    return f"exact match {_percent(before)} in {step}, {_percent(after)} now"


@proof("same answers as STEP to N%")
def same_answers(finished: Finished, step: str, share: float) -> str:
    """The same questions get the same answers as in an earlier step, in at least that share of them."""
    before = {a.question: a.answer for a in answers_in(finished.run / step)}
    after = {a.question: a.answer for a in answers_in(finished.out)}
    agree = sum(after.get(q) == answer for q, answer in before.items())
    if not before or before.keys() != after.keys() or agree < share * len(before):
        raise Unproven(f"{agree} of {len(before)} answers as in {step}, {len(after)} answers now")
    return f"{agree} of {len(before)} answers as in {step}"


@proof("went on from its checkpoint")
def went_on(finished: Finished) -> str:
    """The log, cut at the checkpoint's step, goes on after it: a training that began anew would repeat steps."""
    steps = [counter[0] for row in training_log(finished.out) if (counter := step_counter(row))]
    if not steps or any(later <= step for step, later in pairwise(steps)):
        raise Unproven(f"the steps are not in order, each once: {', '.join(map(str, steps[:20])) or 'none'}")
    return f"steps {steps[0]} to {steps[-1]} in order, each once"


@proof("every question answered")
def all_answered(finished: Finished) -> str:
    """No answer is empty, and none of EvalScope's metrics failed in silence (it reports those as 0)."""
    answers = answers_in(finished.out)
    empty = [a.question for a in answers if not a.answer]
    broken = re.findall(r"Error calculating metric.*", finished.log.read_text(encoding="utf-8", errors="replace"))
    if not answers or empty or broken:
        raise Unproven(
            f"{len(empty)} of {len(answers)} answers are empty; {broken[0] if broken else 'no metric failed'}"
        )
    return f"{len(answers)} answers, none empty, no metric failed"


@proof("chat answered")
def chat_answered(finished: Finished) -> str:
    """chat.json is a chat completion: a model's name, a choice that says something, tokens counted."""
    reply = json.loads((finished.out / "chat.json").read_text(encoding="utf-8"))
    said, tokens = reply["choices"][0]["message"]["content"] or "", reply["usage"]["completion_tokens"]
    evidence = f"{reply['model']} said {without_thought(said)[:60]!r} in {tokens} tokens"
    if not without_thought(said) or not tokens:
        raise Unproven(evidence)
    return evidence


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
