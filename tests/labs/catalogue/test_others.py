"""The labs of all other chapters prove themselves."""

from __future__ import annotations

from typing import Any

import pytest

from gpulab.lab.lab import Lab
from tests.labs.catalogue.rehearsed import OTHERS, proves_itself

pytestmark = [pytest.mark.rehearsal, pytest.mark.usefixtures("shared")]


@pytest.mark.parametrize("tried", OTHERS, ids=lambda tried: tried.name)
def test_a_lab_proves_itself(lab: Any, tried: Lab) -> None:
    proves_itself(lab, tried)
