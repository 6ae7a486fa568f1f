"""A draft on the source of the installed ms-swift: its own checkers and the draft's test, carried out for real."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.labs.conftest import ROOT

pytestmark = pytest.mark.rehearsal


def test_a_plugin_becomes_a_branch_that_passes_the_checks_of_ms_swift(tmp_path: Path) -> None:
    env = {**os.environ, **{f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER")
                            for what in ("NAME", "EMAIL")}}  # fmt: skip
    folder = tmp_path / "ms-swift"
    ended = subprocess.run(
        [ROOT / "inv", "pr-draft", "stops_at_loss", "--to", str(folder), "--json"], env=env,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["failures"]) == (0, []), ended.stderr
    assert told["test"].startswith("Ran 2 tests")
    assert {"flake8", "isort", "yapf"} <= set(told["hooks"])
    show = ["git", "-C", folder, "show", f"{told['branch']}:swift/callbacks/stops_at_loss.py"]
    text = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert "logs.get('loss'" in text, "written in the quotes of ms-swift"
