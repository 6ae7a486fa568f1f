"""The local checks of a draft: ms-swift's own pre-commit hooks from the stack `style`, and the draft's test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.yamlfile import load_as
from gpulab.stacks.stack import load_stack

CONFIGURATION = ".pre-commit-config.yaml"
STYLE, SWIFT = "style", "cpu"


class Hook(BaseModel):
    """The program of a hook, the package it is of, its arguments; whether it takes Python alone."""

    model_config = ConfigDict(extra="forbid")
    program: str
    package: str
    python: bool = False
    arguments: list[str] = []


class HooksFile(BaseModel):
    """hooks.yml."""

    model_config = ConfigDict(extra="forbid")
    hooks: dict[str, Hook]
    aside: list[str]
    setup_cfg: str


@dataclass
class Checked:
    """The hooks that were carried out, and what to know about others."""

    hooks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@cache
def known() -> HooksFile:
    """hooks.yml, read once."""
    return load_as(HooksFile, Path(__file__).with_name("hooks.yml"))


def asked(root: Path) -> dict[str, tuple[str, list[str]]]:
    """The hooks that a tree asks for, in their order: version and arguments of each; all known ones of a tree that has
    no configuration. Raises UsageError for one that can't be read."""
    file = root / CONFIGURATION
    if not file.is_file():
        return {name: ("", []) for name in known().hooks}
    try:
        repositories = yaml.safe_load(file.read_text(encoding="utf-8"))["repos"]
        return {
            hook["id"]: (str(repo["rev"]).removeprefix("v"), [str(word) for word in hook.get("args", [])])
            for repo in repositories for hook in repo["hooks"]
        }  # fmt: skip
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(
            f"{CONFIGURATION} of the clone can't be read: {error!r}", "a commit whose pre-commit works"
        ) from error


def run_hooks(root: Path, files: Sequence[str]) -> Checked:
    """Format these files, and check them. Raises UsageError with a hook's own words where they don't pass."""
    stack, checked = load_stack(STYLE), Checked()
    stack.ensure()
    versions = stack.packages()
    commands: dict[str, list[str]] = {}
    for name, (version, arguments) in asked(root).items():
        if not (hook := known().hooks.get(name)):
            checked.notes += [] if name in known().aside else [f"its hook {name} is not carried out here"]
            continue
        here = versions[hook.package]
        if version and version != here:
            checked.notes.append(f"{name}: the clone asks for {hook.package} {version}, the stack {STYLE} has {here}")
        mine = [file for file in files if not hook.python or file.endswith(".py")]
        commands[name] = [str(stack.bin / hook.program), *hook.arguments, *arguments, *mine]
    for command in commands.values():  # what changes files does so now
        told(command, root, {})
    for name, command in commands.items():
        done = told(command, root, {})
        if done.returncode:
            raise UsageError(f"{name} does not pass:\n{words(done)}", "the plugin or its test in labs/extend")
        checked.hooks.append(name)
    return checked


def run_test(root: Path, test: str) -> str:
    """Run the draft's test on the tree, with the libraries of the stack `cpu`. Raises UsageError where it fails."""
    stack = load_stack(SWIFT)
    stack.ensure()
    env = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with console.status(f"{test} ..."):
        done = told([str(stack.bin / "python"), test], root, env)
    if done.returncode:
        raise UsageError(
            f"{test} fails on this source:\n{words(done)}",
            f"a commit that the stack {SWIFT} can import, see docker/stacks.yml",
        )
    return next((line for line in done.stderr.splitlines() if line.startswith("Ran ")), "ran")


def told(command: Sequence[str], root: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command in that tree, ended."""
    return subprocess.run(
        command, cwd=root, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def words(done: subprocess.CompletedProcess[str]) -> str:
    """The last of what it said."""
    return (done.stdout + done.stderr).strip()[-1500:]
