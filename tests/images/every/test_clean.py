"""Nothing is left in an image that only its build needed: caches, lists, this network's own addresses and keys."""

from __future__ import annotations

import os
import shlex

import pytest

from gpulab.common.uv import environment
from tests.images.box import Box

LEFT = {
    "package caches": "find / -xdev '(' -path '*/.cache/uv' -o -path '*/.cache/pip' -o -path '/var/cache/uv/*' ')'",
    "apt's lists and archives": "find /var/lib/apt/lists /var/cache/apt -type f",
    "build secrets": "find /run/secrets /lock -type f",
    "the installer": "find /usr/local/bin -name uv -size +0 -o -name install-part -size +0",
    "keys": "find / -xdev -type f '(' -name 'id_rsa*' -o -name 'id_ed25519*' -o -name .netrc -o -name .pypirc ')'",
}


def left(here: Box, what: str) -> list[str]:
    return here.run("sh", "-c", f"{LEFT[what]} 2>/dev/null", user="0").stdout.split()


@pytest.mark.parametrize("what", LEFT)
def test_it_is_gone(here: Box, what: str) -> None:
    assert left(here, what) == []


@pytest.mark.parametrize("file", ["/root/.cache/uv/x/y", "/var/lib/apt/lists/x", "/run/secrets/ca", "/root/.netrc"])
def test_something_left_is_seen(broken: Box, file: str) -> None:
    broken.run("sh", "-c", f"mkdir -p $(dirname {file}) && echo x > {file}", user="0")
    assert any(left(broken, what) for what in LEFT)


def test_this_networks_own_addresses_and_certificates_are_in_no_layer(here: Box) -> None:
    """What the build was told of them stays outside: in the image's history and environment, and among its files."""
    env = environment()
    told = [env.get(name, "") for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "HTTPS_PROXY", "https_proxy")]
    history = here.docker.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", here.image.tag)
    recorded = history + str(here.config)
    assert [secret for secret in told if secret and secret in recorded] == []
    tokens = [v for k, v in os.environ.items() if k.endswith(("_TOKEN", "_PASSWORD", "_KEY")) and len(v) > 8]
    assert [t for t in tokens if t in recorded] == []
    index = next((secret for secret in told if secret), "")
    if index:
        assert here.run("grep", "-rlF", shlex.quote(index), "/opt/stack", user="0").stdout == ""
