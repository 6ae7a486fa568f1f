"""gpulab/inside/layout.py: who is where, against the groups that Megatron's own documentation lists."""

from __future__ import annotations

from collections import defaultdict

import pytest

from gpulab.inside.layout import Layout


def groups(layout: Layout, axis: str) -> list[list[int]]:
    """The ranks that differ in one axis only, as Megatron lists a group."""
    found = defaultdict(list)
    for rank in range(layout.world):
        place = layout.coordinates(rank)
        found[tuple(v for k, v in place.items() if k not in (axis, "ep"))].append(rank)
    return sorted(found.values())


# The docstring of initialize_model_parallel, megatron/core/parallel_state.py: 16 GPUs, tensor 2, pipeline 4.
SIXTEEN = Layout(2, 8, tensor=2, pipeline=4)


def test_sixteen_gpus_are_grouped_as_in_megatrons_docstring():
    assert groups(SIXTEEN, "dp") == [
        [0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12, 14], [13, 15]
    ]  # fmt: skip
    assert groups(SIXTEEN, "tp") == [[n, n + 1] for n in range(0, 16, 2)]
    assert groups(SIXTEEN, "pp") == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]


def test_context_parallel_ranks_are_those_of_megatrons_docstring():
    assert groups(Layout(1, 8, tensor=4, context=2), "cp") == [[0, 4], [1, 5], [2, 6], [3, 7]]


# What megatron-core's RankGenerator(tp=1, ep=4, dp=1, pp=2, cp=1, order="tp-cp-ep-dp-pp").get_ranks("ep") says,
# and with tp=2 (the experts' own tensor parallelism).
@pytest.mark.parametrize(("expert_tensor", "expected"), [(1, [0, 1, 2, 3, 0, 1, 2, 3]), (2, [0, 0, 1, 1, 0, 0, 1, 1])])
def test_experts_have_a_grid_of_their_own(expert_tensor, expected):
    layout = Layout(1, 8, tensor=2, pipeline=2, expert=4 // expert_tensor, expert_tensor=expert_tensor)
    assert [layout.coordinates(rank)["ep"] for rank in range(8)] == expected


def test_the_sizes_of_a_layout_multiply_to_the_world():
    layout = Layout(8, 8, tensor=4, pipeline=4, context=2)  # LLaMA-3 70B in Megatron's parallelism guide
    assert (layout.world, layout.model, layout.data) == (64, 32, 2)


def test_first_and_last_stages_take_what_they_are_given():
    assert Layout(1, 8, pipeline=4).stages(94, 23, 23) == [23, 24, 24, 23]
    assert Layout(1, 8, pipeline=2).stages(27, None, 13) == [14, 13]  # ms-swift's examples/megatron/moe/deepseek_v3.sh


def test_groups_that_reach_over_nodes_are_known():
    assert not Layout(2, 8, tensor=8).crosses_nodes
    assert Layout(2, 8, tensor=16).crosses_nodes
    assert Layout(2, 8, expert=16).crosses_nodes
