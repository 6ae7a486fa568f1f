"""A Plan as a shell script that runs by itself: what `--dry` prints and every run keeps as plan.sh."""

from __future__ import annotations

import shlex

from gpulab.paths import ROOT, shown
from gpulab.plan import Command, Plan

HEADER = """\
#!/usr/bin/env bash
# {lab}, profile {profile}: {title}
# Reproduces the run by itself: bash plan.sh [FOLDER FOR THE RESULTS]
set -euo pipefail
LAB={root}
STACK={stack}
RUN=$(realpath -m "${{1:-{default}}}")
[ -e "$STACK/complete" ] || {{ echo "make the stack first: $LAB/inv stacks --install {stack_name}" >&2; exit 2; }}
export PATH="$STACK/bin:$PATH"
{exports}
servers=()
stop() {{ for pid in "$@"; do kill -- -"$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; }}
trap 'stop "${{servers[@]:-}}"' EXIT
set -m  # every server in a process group of its own, so that stopping it stops its children
mkdir -p "$RUN"
"""


def as_script(plan: Plan) -> str:
    """The script. The run's folder, the stack and the repository are variables at its top."""
    shared = dict(plan.commands[0].env)
    for command in plan.commands:
        shared = {k: v for k, v in shared.items() if command.env.get(k) == v}
    lines = [
        HEADER.format(
            lab=plan.lab.name,
            profile=plan.profile,
            title=plan.lab.title,
            root=shlex.quote(str(ROOT)),
            stack=_word(str(plan.stack.venv), plan, known=("LAB",)),
            default=shlex.quote(f"{shown(plan.run)}-again"),
            stack_name=plan.stack.name,
            exports="\n".join(f"export {k}={shlex.quote(v)}" for k, v in shared.items()),
        )
    ]
    for command in plan.commands:
        lines += _step(command, plan, shared)
    return "\n".join(lines) + "\n"


def _step(command: Command, plan: Plan, shared: dict[str, str]) -> list[str]:
    own = [f"{k}={_word(v, plan)}" for k, v in command.env.items() if shared.get(k) != v]
    words = " ".join([*own, *(_word(word, plan) for word in command.argv)])
    lines = [
        f"\necho '== {command.step}'",
        f"mkdir -p {_word(str(command.out), plan)}",
        f"cd {_word(str(command.cwd), plan)}",
    ]
    if command.ready:
        ready = [
            "python",
            str(ROOT / "gpulab/ready.py"),
            str(command.url),
            command.ready.chat,
            f"{command.ready.within:g}",
        ]
        pid = command.step.replace("-", "_")
        lines += [f"{words} &", f"{pid}=$!; servers+=(${pid})", " ".join(_word(w, plan) for w in ready)]
    else:
        lines.append(words)
    for server in plan.commands:
        if server.ready and server.until == command.step:
            lines.append(f'stop "${server.step.replace("-", "_")}"')
    return lines


def _word(word: str, plan: Plan, known: tuple[str, ...] = ("RUN", "STACK", "LAB")) -> str:
    """`word` quoted for the shell, its folders written as the variables at the top."""
    folders = {"RUN": str(plan.run), "STACK": str(plan.stack.venv), "LAB": str(ROOT)}
    for name in known:
        if folders[name] in word:
            parts = word.split(folders[name])
            return f'"${name}"'.join(_word(part, plan, known) if part else "" for part in parts)
    return shlex.quote(word) if word else ""
