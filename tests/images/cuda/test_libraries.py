"""Compiled against one another: no library, symbol or CUDA release that another one misses. No GPU is needed to see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.images.box import Box

# what an image lacks on purpose, each with the reason
ELSEWHERE = yaml.safe_load((Path(__file__).parent / "elsewhere.yml").read_text())


@pytest.fixture(scope="module")
def told(here: Box) -> Any:
    return here.ask("libraries.py", timeout=1800)


def unexplained(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """What elsewhere.yml gives no reason for."""
    left = {lib: [n for n in names if n not in ELSEWHERE["libraries"]] for lib, names in found.items()}
    return {lib: names for lib, names in left.items() if names and not lib.startswith(tuple(ELSEWHERE["parts"]))}


def test_every_library_finds_those_it_wants(told: Any) -> None:
    assert told["libraries"] > 100
    assert unexplained(told["missing"]) == {}


def test_torch_has_every_symbol_that_extensions_want_of_it(told: Any) -> None:
    assert told["extensions"]
    assert unexplained(told["undefined"]) == {}


def test_one_release_of_cuda(told: Any) -> None:
    assert unexplained(told["other_cuda"]) == {}


def test_torch_runs_the_nccl_of_the_lock(told: Any, here: Box) -> None:
    installed = here.ask("packages.py")["installed"]
    packaged = next(version for name, version in installed.items() if re.fullmatch(r"nvidia-nccl-cu\d+", name))
    assert told["nccl"] == packaged


def test_a_symbol_that_torch_has_not_is_seen(broken: Box) -> None:
    site = broken.python("import sysconfig; print(sysconfig.get_path('purelib'))")
    source = "namespace c10 { void no_such_thing(); } void f() { c10::no_such_thing(); }"
    built = broken.run(
        "g++", "-shared", "-fPIC", "-x", "c++", "-", "-o", f"{site}/broken.so",
        f"-L{site}/torch/lib", "-Wl,--no-as-needed", "-lc10", user="0", stdin=source,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "broken.so" in broken.ask("libraries.py", timeout=1800)["undefined"]
