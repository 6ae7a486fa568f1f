"""Each lab's first break is seen."""

from __future__ import annotations

from typing import Any

import pytest

from gpulab.lab.lab import Lab
from gpulab.runs.rehearse import seen
from tests.labs.catalogue.rehearsed import CATALOGUE

pytestmark = [pytest.mark.rehearsal, pytest.mark.usefixtures("shared")]


@pytest.mark.parametrize("tried", [lab for lab in CATALOGUE if lab.breaks], ids=lambda tried: tried.name)
def test_a_labs_first_break_is_seen_by_the_proof_that_it_names(lab: Any, tried: Lab) -> None:
    broken = tried.breaks[0]
    words = [word for setting in broken.settings for word in ("--set", setting)]
    run = lab(tried.name, "--rehearse", "--only", ",".join(tried.to_break(broken)), *words)
    code, out, err = run.finish()
    assert code == 1, out + err[-2000:]
    assert seen(run.folder, broken) == []
