"""A plugin as a change of ms-swift: what is written into a git repository, what is refused, what stays as it was."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.runs.pull_request import checks, draft, tree
from gpulab.runs.pull_request.plugin import Plugin, find_plugin, plugins, said

MAPPING = """\
from .base import TrainerCallback
from .early_stop import EarlyStopCallback

callbacks_map = {
    'early_stop': EarlyStopCallback
}
"""
FILES = {
    "swift/cli/main.py": "",
    "swift/callbacks/mapping.py": MAPPING,
    "docs/source_en/Instruction/Command-line-parameters.md": "- 🔥callbacks: Some.\n- optim: Other.\n",
    "docs/source/Instruction/Command-line-parameters.md": "- callbacks: 回调。\n",
    ".github/PULL_REQUEST_TEMPLATE.md": "- [ ] Bug Fix\n- [ ] New Feature\n",
}
BRANCH = "add-stops-at-loss"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that has what a draft needs of ms-swift's, and a person who commits; the checks pass."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ann@example.org")
    monkeypatch.setattr(draft, "run_hooks", lambda root, files: checks.Checked(["flake8"]))
    monkeypatch.setattr(draft, "run_test", lambda root, test: "Ran 2 tests")
    folder = tmp_path / "ms swift"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder.parent, "init", "--quiet", "--initial-branch", "main", str(folder))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def lay_out(clone: Path, name: str = "stops_at_loss", branch: str = "") -> dict[str, object]:
    return draft.draft(name, str(clone), "", branch).data


def test_the_branch_has_change_test_documentation_and_the_templates_text(clone: Path) -> None:
    told = lay_out(clone)
    assert told["branch"] == BRANCH
    changed = set(git(clone, "diff", "--name-only", "main", BRANCH).split())
    assert changed == {"swift/callbacks/stops_at_loss.py", "tests/callbacks/test_stops_at_loss.py", *FILES} - {
        "swift/cli/main.py", ".github/PULL_REQUEST_TEMPLATE.md"
    }  # fmt: skip
    english = git(clone, "show", f"{BRANCH}:docs/source_en/Instruction/Command-line-parameters.md").splitlines()
    assert english[0].startswith("- 🔥callbacks: Some. `stops_at_loss` ends the training")
    assert english[1] == "- optim: Other."
    assert "- [x] New Feature" in git(clone, "log", "-1", "--format=%B", BRANCH)


def test_what_is_in_the_clones_own_folder_stays_as_it_is(clone: Path) -> None:
    (clone / "swift/cli/main.py").write_text("mine")
    (clone / "new.py").write_text("mine")
    before = git(clone, "status", "--porcelain")
    lay_out(clone)
    assert git(clone, "status", "--porcelain") == before
    assert git(clone, "branch", "--show-current").strip() == "main"
    assert "mine" not in git(clone, "show", f"{BRANCH}:swift/cli/main.py")
    assert len(git(clone, "worktree", "list").splitlines()) == 1


def test_of_a_draft_that_fails_its_checks_nothing_is_left(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(root: Path, test: str) -> str:
        raise UsageError("the test fails", "correct it")

    monkeypatch.setattr(draft, "run_test", fails)
    with pytest.raises(UsageError, match="the test fails"):
        lay_out(clone)
    assert git(clone, "branch", "--list", BRANCH) == ""
    assert len(git(clone, "worktree", "list").splitlines()) == 1


def test_a_branch_that_exists_is_kept(clone: Path) -> None:
    lay_out(clone)
    with pytest.raises(UsageError, match=f"has a branch {BRANCH}"):
        lay_out(clone)
    assert lay_out(clone, branch="another")["branch"] == "another"
    with pytest.raises(UsageError, match="git takes no such name"):
        lay_out(clone, branch="a..b")


def test_what_is_no_source_of_ms_swift_is_refused(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is no git repository"):
        lay_out(tmp_path)
    with pytest.raises(UsageError, match="is no git repository"):
        lay_out(tmp_path / "none")
    git(clone, "rm", "--quiet", "swift/cli/main.py")
    git(clone, "commit", "--quiet", "--message", "less")
    with pytest.raises(UsageError, match="is not ms-swift"):
        lay_out(clone)
    for source, to in (("", ""), (str(clone), "new")):
        with pytest.raises(UsageError, match="needs one source"):
            draft.draft("stops_at_loss", source, to, "")
    with pytest.raises(UsageError, match="is there already"):
        draft.draft("stops_at_loss", "", str(clone), "")
    with pytest.raises(UsageError, match="registers no 'stop_at_loss'") as refused:
        lay_out(clone, "stop_at_loss")
    assert "stops_at_loss" in refused.value.cure


def test_without_git_or_a_name_to_commit_under_it_says_so(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "")
    with pytest.raises(UsageError, match="does not know who you are"):
        lay_out(clone)
    monkeypatch.setattr(tree.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="git is not installed"):
        lay_out(clone)


def test_a_source_whose_map_is_missing_or_has_the_name_is_refused() -> None:
    plugin = find_plugin("stops_at_loss")
    with pytest.raises(UsageError, match="has no callbacks_map"):
        plugin.registered("other_map = {'a': 1}\n")
    with pytest.raises(UsageError, match="has stops_at_loss already"):
        plugin.registered(plugin.registered(MAPPING))


def test_a_registration_is_added_behind_the_last_with_its_import() -> None:
    made = find_plugin("stops_at_loss").registered(MAPPING)
    assert "import EarlyStopCallback\nfrom .stops_at_loss import StopsAtLoss\n" in made
    assert "    'early_stop': EarlyStopCallback,\n    'stops_at_loss': StopsAtLoss\n}" in made


@pytest.mark.parametrize("plugin", plugins().values(), ids=lambda plugin: plugin.name)
def test_each_plugin_of_labs_extend_can_be_drafted(plugin: Plugin) -> None:
    assert plugin.said.zh != plugin.said.en
    source = ast.parse(plugin.source())
    assert [s.name for s in source.body if isinstance(s, ast.ClassDef)] == [plugin.cls]
    test = plugin.test_source()
    assert [s for s in ast.parse(test).body if isinstance(s, ast.ClassDef)], "labs/extend has no test of it"
    assert "plugin." not in test, "the lab's own module is not there"


def test_what_the_documentation_is_to_say_is_of_a_plugin_that_is_there() -> None:
    assert set(said()) == set(plugins())


def test_hooks_that_are_not_known_or_of_another_version_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stack:
        bin = tmp_path

        def ensure(self) -> None: ...

        def packages(self) -> dict[str, str]:
            return {"flake8": "7"}

    (tmp_path / "flake8").write_text('#!/bin/sh\necho "$@" >> asked\n! grep -q wrong a.py\n')
    (tmp_path / "flake8").chmod(0o755)
    (tmp_path / "a.py").write_text("fine\n")
    (tmp_path / checks.CONFIGURATION).write_text(
        "repos:\n- {repo: x, rev: v6, hooks: [{id: flake8, args: [--quiet]}, {id: codespell}, {id: check-yaml}]}\n"
    )
    monkeypatch.setattr(checks, "load_stack", lambda name: Stack())
    found = checks.run_hooks(tmp_path, ["a.py", "b.md"])
    assert (tmp_path / "asked").read_text().split("\n")[0] == "--quiet a.py"
    assert found.hooks == ["flake8"]
    assert found.notes == ["flake8: the clone asks for flake8 6, the stack style has 7",
                           "its hook codespell is not carried out here"]  # fmt: skip
    (tmp_path / "a.py").write_text("wrong\n")
    with pytest.raises(UsageError, match="flake8 does not pass"):
        checks.run_hooks(tmp_path, ["a.py"])
    (tmp_path / checks.CONFIGURATION).write_text("repos: [{}]\n")
    with pytest.raises(UsageError, match="can't be read"):
        checks.run_hooks(tmp_path, ["a.py"])
