"""gpulab/hosts/engines.py: a host's engine over a login that is kept open."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpulab.hosts.engines import HostDocker
from gpulab.hosts.inventory import Host

REFUSAL = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostDocker:
    """Whose `docker` refuses until `ssh -O stop` gave the login up that was kept open."""
    refuses = f'{{ echo "{REFUSAL}" >&2; exit 1; }}'
    for name, script in {
        "ssh": 'echo "$@" > "$0.said"',
        "docker": f'echo . >> "$0.tries"; grep -qs "stop 198.18.0.1" "$(dirname "$0")/ssh.said" || {refuses}',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return HostDocker("ssh://gpu1", tmp_path, of=Host("gpu1", "198.18.0.1"))


def test_a_login_from_before_its_user_was_let_in_is_renewed(engine: HostDocker) -> None:
    assert engine.try_run("version").returncode == 0


def test_who_is_still_refused_is_not_tried_for_ever(engine: HostDocker, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\n")
    assert REFUSAL in engine.try_run("version").stderr
    assert (tmp_path / "docker.tries").read_text() == ".\n.\n"
