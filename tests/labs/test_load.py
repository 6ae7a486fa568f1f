"""`inv bench` with EvalScope's real load generator and a stand-in for the model: all requests counted, errors too."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from gpulab.records.read import find_run, read
from gpulab.runs.bench import WARM_UP, bench
from gpulab.stacks.stack import load_stack
from tests.openai_server import serving

pytestmark = pytest.mark.skipif(
    not load_stack("eval").installed, reason="the stack eval is not installed: ./inv stacks --install eval"
)


@pytest.mark.parametrize("failing", [False, True])
def test_what_was_measured_is_on_record_and_a_failed_request_is_a_failure(
    failing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPULAB_RUNS", str(tmp_path / "runs"))
    asked = count()
    last = 2 * (WARM_UP + 4)  # and a few questions to see whether the server is there: some of the second level fail
    with serving(lambda request: 0 if failing and next(asked) >= last else "Melvik") as url:
        outcome = bench(url, "1,2", 4, 8, 8, "", [])
    record = read(find_run("last"))
    one, two = (record.metrics["bench"]["bench"][level] for level in ("1", "2"))
    assert (one["requests"], one["failed"], two["requests"], two["failed"] > 0) == (4, 0, 4, failing)
    assert one["tokens/s"] > 0 and one["TTFT ms p50"] > 0
    assert bool(outcome.failures) == failing and record.state == ("failed" if failing else "done")
