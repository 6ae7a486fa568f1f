"""The repository that a draft becomes a branch of: a clone of ms-swift, or a new one of the installed package."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.paths import shown
from gpulab.runs.pull_request.checks import SWIFT, known
from gpulab.stacks.stack import load_stack

IS_SWIFT = "swift/cli/main.py"


@dataclass(frozen=True)
class Repository:
    """A git repository with ms-swift's source."""

    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Repository:
        """The one there. Raises UsageError where it is none, or none of ms-swift."""
        found = cls(folder)
        if not folder.is_dir() or found.git("rev-parse", "--git-dir", check=False).returncode:
            raise UsageError(f"{shown(folder)} is no git repository", "git clone ms-swift, or --to NEW-FOLDER")
        if found.git("cat-file", "-e", f"HEAD:{IS_SWIFT}", check=False).returncode:
            raise UsageError(f"{shown(folder)} is not ms-swift: its HEAD has no {IS_SWIFT}", "name a clone of ms-swift")
        return found

    @classmethod
    def of_installed(cls, folder: Path) -> Repository:
        """A new one of the installed package, with the style that ms-swift is written in."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"--to {shown(folder)} is there already",
                f"a new folder; --source {shown(folder)} where it is a repository",
            )
        stack = load_stack(SWIFT)
        stack.ensure()
        (package,) = stack.venv.glob("lib/python3*/site-packages/swift")
        shutil.copytree(package, folder / "swift", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "setup.cfg").write_text(known().setup_cfg, encoding="utf-8")
        found = cls(folder)
        found.git("init", "--quiet", "--initial-branch", "main")
        found.commit(f"ms-swift {stack.packages()['ms-swift']} as it is installed", folder)
        return found

    def git(self, *words: str, at: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """git, there. Raises UsageError with its own words."""
        done = subprocess.run(
            ["git", "-C", str(at or self.folder), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise UsageError(f"git {words[0]}: {done.stderr.strip()[-500:]}", f"look at {shown(self.folder)}")
        return done

    def commit(self, message: str, at: Path) -> None:
        """All that is there. Its hooks stay aside: they would fetch the checkers that have been run."""
        self.git("add", "--all", at=at)
        self.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", message, at=at)

    @contextmanager
    def branch(self, name: str) -> Iterator[Path]:
        """A new branch of HEAD, checked out beside: what is in the clone's own folder stays as it is, changes too. Of
        one that fails nothing is left. Raises UsageError where there is one, or git takes no such name."""
        if self.git("check-ref-format", "--branch", name, check=False).returncode:
            raise UsageError(f"--branch {name}: git takes no such name", "letters, digits, - and /")
        if not self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{name}", check=False).returncode:
            cure = f"git -C {shown(self.folder)} branch -D {name}, or --branch ANOTHER"
            raise UsageError(f"{shown(self.folder)} has a branch {name}", cure)
        with tempfile.TemporaryDirectory(prefix="pr-draft-") as above:
            tree = Path(above) / "ms-swift"
            self.git("worktree", "add", "--quiet", "-b", name, str(tree), "HEAD")
            try:
                yield tree
            except BaseException:
                self.git("worktree", "remove", "--force", str(tree), check=False)
                self.git("branch", "-D", name, check=False)
                raise
            self.git("worktree", "remove", "--force", str(tree))


def needs_git() -> None:
    """Raises UsageError where there is no git, or it does not know who commits."""
    if not shutil.which("git"):
        raise UsageError("git is not installed", "apt install git")
    if subprocess.run(["git", "var", "GIT_AUTHOR_IDENT"], capture_output=True, check=False).returncode:
        raise UsageError("git does not know who you are", "git config --global user.name NAME; the same for user.email")
