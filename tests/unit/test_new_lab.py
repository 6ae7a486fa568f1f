"""`inv new`: a lab like another one that passes as it is."""

from __future__ import annotations

import shutil

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.lab.lab import load_lab
from gpulab.reports import new_lab as room

PAGE = f"# The lab\n\n## Labs\n{room.HEAD}| [gone/lab](labs/gone/lab/README.md) | old | cpu | CPU |\n\n## More\n"


@pytest.fixture
def labs(tmp_path, monkeypatch):
    """A folder of two of the repository's labs, and READMEs beside it."""
    folder = tmp_path / "labs"
    for name in ("common", "rlhf/grpo", "train/streaming"):
        shutil.copytree(ROOT / "labs" / name, folder / name)
    for page in room.PAGES:
        (tmp_path / page).write_text(PAGE)
    monkeypatch.setattr("gpulab.lab.lab.LABS", folder)
    monkeypatch.setattr(room, "LABS", folder)
    monkeypatch.setattr(room, "ROOT", tmp_path)
    return folder


def test_it_loads_and_its_page_is_about_itself(labs):
    room.new_lab("rlhf/my-grpo", "grpo", "GRPO: with 'my' reward")
    lab = load_lab(labs / "rlhf/my-grpo")
    assert lab.title == "GRPO: with 'my' reward"
    assert list(lab.steps) == ["before", "train", "after"]
    page = (lab.folder / "README.md").read_text()
    assert page.startswith("# GRPO: with 'my' reward\n")
    assert "./inv lab rlhf/my-grpo --set train.num_generations=4" in page and "./inv lab grpo" not in page


def test_it_stands_in_the_readmes_and_what_is_gone_does_not(labs, tmp_path):
    room.new_lab("train/mine", "streaming", "Mine")
    for page in room.PAGES:
        text = (tmp_path / page).read_text()
        assert "| [train/mine](labs/train/mine/README.md) | Mine | train | 1 GPU, 8 GiB |\n" in text
        assert "gone/lab" not in text and text.endswith("\n\n## More\n") and text.startswith("# The lab\n")


@pytest.mark.parametrize(
    ("name", "like", "title", "message"),
    [
        ("mine", "grpo", "", "'mine' is no chapter/lab"),
        ("../x/y", "grpo", "", "is no chapter/lab"),
        ("rlhf/grpo", "streaming", "", "rlhf/grpo is there already"),
        ("rlhf/mine", "grrpo", "", "no lab 'grrpo'"),
        ("rlhf/mine", "grpo", "a\nb", "--title has a line break"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(labs, name, like, title, message):
    before = sorted(labs.rglob("*"))
    with pytest.raises(UsageError, match=message):
        room.new_lab(name, like, title)
    assert sorted(labs.rglob("*")) == before
