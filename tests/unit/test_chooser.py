"""docs/chooser.md: it is what ms-swift's flags and chooser.yml make of it, and about what ms-swift has."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from gpulab.common.yamlfile import load_as
from gpulab.lab.flags import known_flags
from gpulab.reports import chooser


def test_the_page_is_up_to_date():
    assert chooser.PAGE.read_text() == chooser.written_page(), "python -m gpulab.reports.chooser brings it up to date"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda flags: flags["swift deploy"]["infer_backend"].append("newest"), "backends: newest"),
        (lambda flags: flags["swift export"]["quant_method"].remove("awq"), "methods of export: awq"),
        (lambda flags: flags["swift deploy"]["quant_method"].append("torchao"), "methods of loading: torchao"),
        (lambda flags: flags["swift deploy"].pop("sglang_tp_size"), "sglang_tp_size"),
    ],
    ids=["a new backend", "a method that is gone", "a new method", "a flag that is gone"],
)
def test_what_ms_swift_changes_makes_it_stale(change, named):
    facts = load_as(chooser.Chooser, Path(chooser.__file__).with_suffix(".yml"))
    flags = copy.deepcopy(known_flags())
    change(flags)
    with pytest.raises(KeyError, match=named):
        chooser.page(facts, flags)


def test_a_lab_that_is_gone_is_named():
    facts = load_as(chooser.Chooser, Path(chooser.__file__).with_suffix(".yml"))
    facts.weights["awq"].lab = "export/gone"
    with pytest.raises(KeyError, match="awq: no lab export/gone"):
        chooser.page(facts, known_flags())
