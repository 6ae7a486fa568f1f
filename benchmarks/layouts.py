"""Each layout, by the planner and really trained: `.venv/bin/python benchmarks/layouts.py --ranks 2 3 4`.

A twin with experts is shared out by each combination of tensor, pipeline, context and expert sizes, possible or not, in
the stack megatron-cpu: forked ranks, two steps each. What the planner allows has to train with the losses of one
process, what it refuses Megatron has to refuse. 8 ranks are 256 combinations, half an hour on two processors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpulab.common.paths import LABS, ROOT
from gpulab.lab.lab import find_lab
from gpulab.plan.layout.shape import Shape, find_shape
from gpulab.plan.make import plan
from gpulab.plan.plan import PlanSpec
from gpulab.stacks.stack import load_stack
from tests.labs.megatron.agreement import disagreement, refused

DATA = LABS / "common/data/capitals.jsonl"


def in_the_stack(*words: object) -> None:
    """Run Python there, in the environment of a rehearsal's step."""
    stack = load_stack("megatron-cpu")
    stack.ensure()
    step = plan(PlanSpec(lab=find_lab("train/megatron"), profile="cpu", stack=stack), Path("runs")).command("single")
    env = {**os.environ, **step.env, "PATH": f"{stack.bin}:{os.environ['PATH']}"}
    subprocess.run(["python", *map(str, words)], env=env, check=True, stdout=sys.stderr)


def told(shape: Shape, ranks: int, losses: dict[str, list[float] | str]) -> dict[str, object]:
    """One row: how many layouts there are, how many train, and on which the two do not agree."""
    begins, one = f"{ranks} ranks, ", losses["1 ranks, 1x1x1x1"]
    if isinstance(one, str):
        raise SystemExit(f"one process does not train: {one}")
    each = {name.removeprefix(begins): said for name, said in losses.items() if name.startswith(begins)}
    reasons = Counter(why.split()[0] if (why := refused(shape, ranks, sizes)) else "" for sizes in each)
    wrong = {s: said for s in each if (said := disagreement(shape, ranks, s, each[s], one))}
    trained = [s for s, said in each.items() if not refused(shape, ranks, s) and isinstance(said, list)]
    apart = sum("trained apart" in refused(shape, ranks, s) for s in each)
    return {
        "ranks": ranks,
        "layouts": len(each),
        "allowed": reasons[""],
        "trained_as_one_process": len(trained) - len([s for s in trained if s in wrong]),
        "refused_by_both": sum(bool(refused(shape, ranks, s)) and isinstance(each[s], str) for s in each),
        "refused_by_the_planner_for_they_train_experts_apart": apart,
        "disagreements": wrong,
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3, 4])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        twin, out = Path(folder, "Qwen3-30B-A3B"), Path(folder, "out")
        out.mkdir()
        in_the_stack(ROOT / "gpulab/inside/twins", "qwen3_moe", twin, "--speaks", DATA)
        began = time.monotonic()
        in_the_stack(ROOT / "tests/labs/megatron/trainings.py", twin, twin, twin, DATA, out, *args.ranks)
        losses = json.loads((out / "losses.json").read_text())
        rows = [told(find_shape(str(twin)), ranks, losses) for ranks in args.ranks]
    print(json.dumps({"rows": rows, "seconds": round(time.monotonic() - began), "load": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
