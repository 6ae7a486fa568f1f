"""What can be said of the roles without a host."""

from pathlib import Path

import pytest
import yaml

from gpulab.common.paths import ROOT
from gpulab.hosts import role_docs

ROLES = sorted(path for path in role_docs.ROLES.iterdir() if path.is_dir())


def test_the_generated_pages_are_up_to_date() -> None:
    stale = [str(path) for path, text in role_docs.pages().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "python -m gpulab.hosts.role_docs makes them anew"


@pytest.mark.parametrize("role", role_docs.documented(), ids=lambda role: role.name)
def test_defaults_are_the_whole_interface(role: Path) -> None:
    options = role_docs.read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(options) == set(role_docs.read(role / "defaults/main.yml"))
    assert all(name.startswith(f"{role.name}_") for name in options)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_version_but_in_stacks_yml(role: Path) -> None:
    node = yaml.safe_load((ROOT / "docker/stacks.yml").read_text())["node"]
    versions = [node["driver"], node["nvidia_container_toolkit"], *node["docker"].values(), *node["images"].values()]
    text = "".join(path.read_text() for path in role.rglob("*") if path.is_file())
    assert [version for version in versions if version in text] == []
