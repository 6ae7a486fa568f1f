"""What Megatron's ranks say of themselves, by the real megatron-core: two ranks on the CPU, without its training."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpulab.plan.plan import TOOLS
from tests.images.box import Box

RANKS = """
import json, sys
import torch
import torch.distributed as dist
from megatron.core import parallel_state
dist.init_process_group("gloo")
parallel_state.initialize_model_parallel(tensor_model_parallel_size=int(sys.argv[1]))
import megatron_rank_report
torch.manual_seed(dist.get_rank() if sys.argv[2] == "apart" else 0)
print("SAID", json.dumps(megatron_rank_report.view(list(torch.nn.Linear(4, 4).named_parameters()))))
"""
TOGETHER = """
cat >/tmp/ranks.py && cd /tmp && export GLOO_SOCKET_IFNAME=lo
exec torchrun --nproc_per_node 2 --master_addr 127.0.0.1 --master_port 29555 ranks.py "$@"
"""


def said(here: Box, tensor: int, weights: str) -> list[dict[str, Any]]:
    """Both ranks' views, by rank."""
    report = (TOOLS / "megatron_rank_report.py").read_text()
    here.run("sh", "-c", "cat >/tmp/megatron_rank_report.py", stdin=report)
    done = here.run("sh", "-c", TOGETHER, "sh", str(tensor), weights, stdin=RANKS)
    views = [json.loads(line.partition("SAID ")[2]) for line in done.stdout.splitlines() if "SAID " in line]
    assert len(views) == 2, done.stdout + done.stderr[-3000:]
    return sorted(views, key=lambda view: view["rank"])


def test_ranks_that_share_a_layer_stand_apart_and_hold_half_each(here: Box) -> None:
    first, second = said(here, 2, "apart")
    assert (first["coordinates"]["tensor"], second["coordinates"]["tensor"]) == ([0, 2], [1, 2])
    assert first["parameters_held"] == second["parameters_held"] == 0.5
    assert first["weights"] != second["weights"]


@pytest.mark.parametrize("weights", ["together", "apart"])
def test_replicas_are_told_apart_by_their_weights_alone(here: Box, weights: str) -> None:
    first, second = said(here, 1, weights)
    assert second["coordinates"]["data"] == [1, 2]
    assert (first["weights"] == second["weights"]) == (weights == "together")
