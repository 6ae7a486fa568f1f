"""Which engine a lab gets, and what each of them must be told."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.engines import choose_engine
from gpulab.stacks.stack import load_stack


def test_a_job_needs_the_hosts_whose_queue_it_is():
    with pytest.raises(UsageError, match="needs the hosts whose queue it is") as refused:
        choose_engine("slurm", load_stack("cpu"))
    assert refused.value.cure == "--hosts gpus.ini"


def test_only_a_job_is_queued_anew():
    with pytest.raises(UsageError, match="--requeue is for jobs in a queue"):
        choose_engine("docker", load_stack("cpu"), requeue=True)
