"""The committed pages about ms-swift's own code are what the installed version does: traced and read anew."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from gpulab.reports import module_map, swift_project
from gpulab.runs import main_line
from gpulab.stacks.stack import load_stack
from tests.labs.conftest import ROOT

pytestmark = pytest.mark.rehearsal


def test_the_main_line_of_sft_is_that_of_a_fresh_trace(tmp_path):
    lab, step, settings = main_line.SOURCES["swift sft"]
    words = [word for setting in settings for word in ("--set", setting)]
    ended = subprocess.run(
        [ROOT / "inv", "trace", f"{lab}:{step}", *words, "--json"], env={**os.environ, "GPULAB_RUNS": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["failures"]) == (0, []), ended.stderr
    (page,) = told["pages"]
    fresh = main_line.section("swift sft", Path(page).parents[1])
    committed = main_line.sections(main_line.PAGE.read_text())["swift sft"]
    assert committed == fresh, "python -m gpulab.runs.main_line brings it up to date"


@pytest.mark.parametrize("made", [module_map, swift_project])
def test_the_page_is_that_of_the_installed_package(made):
    fresh = made.page(module_map.Source.of(load_stack("cpu")))
    assert fresh == made.PAGE.read_text(), f"python -m {made.__name__} brings it up to date"
