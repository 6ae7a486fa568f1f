"""`inv lock` and `inv stacks --why`: the hashed locks, derived from docker/stacks.yml and pyproject.toml."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

from rich.table import Table

from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.common.paths import CONTROL_LOCK, FLAGS, ROOT, shown
from gpulab.stacks.resolver import resolve, resolve_control, resolve_stack, target, versions
from gpulab.stacks.stack import Stack, load_stack, load_stacks

FLAGS_FROM = "cpu"  # the stack whose ms-swift is asked for its flags: the one that every machine can make
CONTROL = "control"


def make_locks(name: str, *, check: bool, upgrade: bool) -> Outcome:
    """Lock one stack, `control` (the lab's own tools), or all; or only check them. Parents come before children."""
    stacks = load_stacks()
    chosen = [load_stack(name)] if name not in ("", CONTROL) else [] if name else list(stacks.values())
    if check:
        return check_locks(chosen, control=name in ("", CONTROL))
    made: list[Path] = []
    if name in ("", CONTROL):
        _write(CONTROL_LOCK, resolve_control(ROOT / "pyproject.toml", CONTROL_LOCK, upgrade=upgrade), made)
    for stack in chosen:
        _write(stack.lock, resolve_stack(stack, upgrade=upgrade), made)
    if name in ("", FLAGS_FROM):
        made.append(write_flags(load_stack(FLAGS_FROM)))
    return Outcome({"locks": made}, text="\n".join(shown(path) for path in made))


def check_locks(stacks: list[Stack], *, control: bool) -> Outcome:
    """Whether each lock is what its pins resolve to, and what an upgrade would change."""
    table = Table("stack", "lock", "an upgrade would change", box=None, pad_edge=False)
    failures: list[Failure] = []
    rows = []
    solvers = [(s.name, s.lock, partial(resolve_stack, s)) for s in stacks]
    if control:
        solvers.insert(0, (CONTROL, CONTROL_LOCK, partial(resolve_control, ROOT / "pyproject.toml", CONTROL_LOCK)))
    for name, lock, solve in solvers:
        text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
        true = solve(upgrade=False) == text
        newer = versions(solve(upgrade=True))
        changes = {n: (v, newer.get(n)) for n, v in versions(text).items() if newer.get(n) != v}
        if not true:
            failures.append(Failure(f"{shown(lock)} is not what its pins resolve to", f"./inv lock --stack {name}"))
        said = ", ".join(f"{n} {old} → {new or 'gone'}" for n, (old, new) in changes.items()) or "nothing"
        table.add_row(name, "true" if true else "[red]stale[/]", said)
        rows.append({"stack": name, "true": true, "upgrade": changes})
    return Outcome({"locks": rows}, failures=failures, text=table)


def why_not_together(names: str) -> Outcome:
    """Resolve the pins of several stacks as one: uv's reason where they conflict."""
    stacks = [load_stack(name) for name in dict.fromkeys(names.replace(",", " ").split())]
    if len(stacks) < 2:
        raise UsageError(f"--why {names}: name two stacks or more", "--why vllm,sglang")
    together = " and ".join(s.name for s in stacks)
    pins = [pin for s in stacks for pin in s.all_pins]
    try:
        lock = resolve(together, pins, target(stacks[0].pins), Path("none"), upgrade=True)
    except UsageError as error:
        return Outcome({"together": False, "reason": error.message}, text=error.message)
    return Outcome({"together": True}, text=f"{together} resolve together: {len(versions(lock))} packages")


def write_flags(stack: Stack) -> Path:
    """Write docker/flags.json from ms-swift's own argument classes. Raises UsageError when they can't be imported."""
    stack.ensure()
    script = ROOT / "gpulab/inside/swift_flags.py"
    done = subprocess.run([stack.bin / "python", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(
            f"ms-swift's arguments can't be read: {done.stderr[-500:]}",
            f"./inv stacks --install {stack.name}",
        )
    FLAGS.write_text(done.stdout, encoding="utf-8")
    return FLAGS


def _write(lock: Path, text: str, made: list[Path]) -> None:
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(text, encoding="utf-8")
    made.append(lock)
