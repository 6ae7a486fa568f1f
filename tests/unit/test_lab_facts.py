"""ansible/library/lab_facts.py: what of the kernel decides what is loaded and what drivers are built against."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.ansible_module import ansible_module


@pytest.fixture
def facts() -> Any:
    return ansible_module("lab_facts")


@pytest.mark.parametrize(
    ("symbols", "takes"),
    [
        ("0000000000000000 T ib_register_peer_memory_client\t[ib_core]\n", True),
        ("0000000000000000 T ib_register_client\t[ib_core]\n", False),
        ("0000000000000000 t __ksymtab_ib_register_peer_memory_client_old\t[ib_core]\n", False),
        ("", False),
    ],
)
def test_peer_memory_is_asked_of_the_kernel_that_runs(facts, tmp_path, symbols, takes):
    (tmp_path / "kallsyms").write_text(symbols)
    assert facts.peer_memory(tmp_path / "kallsyms") is takes


def test_kernel_packages_are_the_installed_ones_that_follow_the_newest_kernel(facts):
    listed = """\
installed linux-image-6.8.0-31-generic
installed linux-image-generic-hwe-22.04
not-installed linux-image-virtual
installed linux-image-cloud-amd64
installed linux-image-unsigned-6.8.0-31-generic
installed linux-image-extra-virtual
"""
    asked = SimpleNamespace(run_command=lambda words: (0, listed, ""))
    assert facts.kernel_packages(asked) == ["linux-image-cloud-amd64", "linux-image-generic-hwe-22.04"]
