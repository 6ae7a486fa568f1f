"""A driver that is too old for a stack's CUDA is refused before anything starts."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.plan.driver import cuda_of, refuse_old_driver
from gpulab.plan.machine import Machine
from gpulab.stacks.stack import load_stack


def machine(driver: str | None) -> Machine:
    return Machine("gpu1", "Debian", "a CPU", 8, 64.0, "3.12", [], driver)


def test_an_old_driver_is_named_with_what_the_stack_needs():
    with pytest.raises(
        UsageError, match=r"gpu1 has driver 550\.163\.01, CUDA 13 of the stack train needs 580"
    ) as caught:
        refuse_old_driver(load_stack("train"), [machine("999.1"), machine("550.163.01")])
    assert "inv provision" in caught.value.cure


def test_a_new_driver_and_a_stack_without_cuda_are_well():
    refuse_old_driver(load_stack("train"), [machine("999.1")])
    refuse_old_driver(load_stack("cpu"), [machine("470.1"), machine(None)])
    assert cuda_of(load_stack("cpu")) is None
