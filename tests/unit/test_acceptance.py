"""A machine is fit for use, or it is named with the figure that says why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpulab.checks.acceptance import judge
from gpulab.checks.proofs import Finished, prove
from gpulab.reports import acceptance

H100 = {
    "h2d_gbs": 54.0, "d2h_gbs": 55.0, "memory_gbs": 3000.0, "host_all_reduce_gbs": 470.0, "all_all_reduce_gbs": 300.0,
    "matmul_tflops": 700.0, "slowest_tflops": 650.0, "fastest_tflops": 720.0, "wrong_products": 0,
    "temperature_c": 70.0, "ecc_errors": 0, "hw_slowdown": False,
}  # fmt: skip
CPU = {"memory_gbs": 10.0, "matmul_tflops": 0.1, "slowest_tflops": 0.02, "fastest_tflops": 0.2, "wrong_products": 0}


def ranks(world: int, device: str, figures: dict[str, Any], **odd: Any) -> list[dict[str, Any]]:
    """Eight devices a host, all alike, but for the last one's `odd` figures."""
    told = [
        {"rank": rank, "world_size": world, "host": f"gpu{rank // 8 + 1}", "node_rank": rank // 8, "device": device,
         "local_world_size": min(world, 8), "figures": dict(figures)}
        for rank in range(world)
    ]  # fmt: skip
    told[-1]["figures"] |= odd
    return told


def proven(tmp_path, told):
    (tmp_path / "step/machines").mkdir(parents=True)
    for rank in told:
        (tmp_path / f"step/machines/{rank['rank']}.json").write_text(json.dumps(rank))
    log = tmp_path / "step.log"
    return prove("every machine passes", Finished(tmp_path / "step", log, tmp_path, ""))


@pytest.mark.parametrize(("device", "figures"), [("NVIDIA H100 80GB HBM3", H100), ("CPU", CPU)])
def test_healthy_machines_pass(tmp_path, device, figures):
    holds, evidence = proven(tmp_path, ranks(16, device, figures))
    assert holds, evidence
    assert "16 devices on 2 hosts" in evidence


@pytest.mark.parametrize(
    "odd",
    [
        {"matmul_tflops": 580.0},  # below what is published
        {"matmul_tflops": 610.0},  # slower than its equals, though not below what is published
        {"memory_gbs": 2000.0},
        {"h2d_gbs": 26.0},  # half of its lanes
        {"host_all_reduce_gbs": 300.0},
        {"all_all_reduce_gbs": 20.0},  # over TCP, while the others have InfiniBand
        {"slowest_tflops": 300.0},  # it slowed down while it worked
        {"wrong_products": 1},
        {"ecc_errors": 1},
        {"hw_slowdown": True},
    ],
)
def test_a_sick_device_is_named_with_the_figure(tmp_path, odd):
    told = ranks(16, "NVIDIA H100 80GB HBM3", H100, **odd)
    holds, evidence = proven(tmp_path, told)
    (name,) = odd
    assert not holds
    assert f"gpu2 rank 15: {name} " in evidence
    assert "rank 14" not in evidence
    (well, sick) = acceptance.by_host(told, judge(told))
    assert (well["passed"], sick["passed"]) == (True, False)


def test_arithmetic_that_differs_is_a_failure_on_a_cpu_too(tmp_path):
    assert not proven(tmp_path, ranks(2, "CPU", CPU, wrong_products=3))[0]


def test_a_card_that_is_not_in_the_table_is_held_against_its_equals(tmp_path):
    holds, evidence = proven(tmp_path, ranks(4, "NVIDIA X1", H100, matmul_tflops=500.0))
    assert not holds
    assert "90% of the median of 4" in evidence


def test_a_rank_that_left_nothing_is_missed(tmp_path):
    holds, evidence = proven(tmp_path, ranks(4, "CPU", CPU)[:3])
    assert not holds
    assert "3 ranks left figures, of 4" in evidence


def test_nothing_measured_is_no_pass(tmp_path):
    assert not proven(tmp_path, [])[0]


def test_the_report_is_one_file_for_people_and_one_for_programs(tmp_path):
    (tmp_path / "measure").mkdir()
    told = ranks(2, "NVIDIA H100 80GB HBM3", H100, ecc_errors=2)
    proven(tmp_path, told)
    rows, _ = acceptance.write(tmp_path / "step", tmp_path)
    assert [row["passed"] for row in rows] == [False]
    assert "FAIL" in (tmp_path / "acceptance.html").read_text()
    assert json.loads((tmp_path / "acceptance.json").read_text())["hosts"] == rows
