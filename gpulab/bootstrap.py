"""Make .venv from gpulab/control.lock. Runs on a bare Python 3.10+: the standard library only.

Started twice at once, the second waits for the first; interrupted, the next start begins anew: the lock's copy in
.venv is written last and is what `inv` compares.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "gpulab" / "control.lock"
VENV = ROOT / ".venv"
MARK = VENV / "installed.lock"
LOG = ROOT / ".lock.log"


def fresh() -> bool:
    """Whether .venv is complete and made from this lock."""
    return MARK.is_file() and MARK.read_bytes() == LOCK.read_bytes()


def install_commands() -> list[list[str]]:
    """The commands that make the venv: with uv where it is on the machine, else with venv and pip. Bytecode of all that
    is in it would take longer to make than all that is ever imported.

    Raises SystemExit (2) with the one apt line that cures it where Python has neither.
    """
    uv = shutil.which("uv")
    if uv:
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)],
            [uv, "pip", "install", "--python", str(VENV / "bin/python"), "--require-hashes", "-r", str(LOCK)],
        ]  # fmt: skip
    if not importlib.util.find_spec("ensurepip"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sudo = "" if os.geteuid() == 0 else "sudo "
        print(
            f"error: this Python {version} comes without venv and pip\n"
            f"  cure: {sudo}apt-get update && {sudo}apt-get install -y python{version}-venv",
            file=sys.stderr,
        )
        raise SystemExit(2)
    return [
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        [str(VENV / "bin/python"), "-m", "pip", "install", "--no-compile", "--require-hashes",
         "--disable-pip-version-check", "-r", str(LOCK)],
    ]  # fmt: skip


def carry_out(command: list[str], packages: int) -> None:
    """Run one command, its output in .lock.log, with a line of progress; SystemExit (2) with its last words."""
    name = Path(command[0]).name if "pip" not in command else "pip"
    got = 0
    with LOG.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert process.stdout  # noqa: S101 (it is a pipe)
        for line in process.stdout:
            log.write(line)
            found = re.match(r"(?:Collecting|Processing|Installing) (\S+)", line)
            if found and sys.stderr.isatty():
                got = min(got + 1, packages)
                what = "installing" if line.startswith("Installing") else Path(found[1]).name[:50]
                print(f"\r\033[K  {got:3}/{packages} {what}", end="", file=sys.stderr, flush=True)
    print("\r\033[K" if got else "", end="", file=sys.stderr)
    if process.wait():
        last = LOG.read_text(encoding="utf-8").strip().splitlines()[-4:]
        print("\n".join(f"  {name}: {line}" for line in last), file=sys.stderr)
        print(f"error: installing failed, all of it in {LOG}", file=sys.stderr)
        print("  cure: check network and disk; a mirror: UV_DEFAULT_INDEX or PIP_INDEX_URL", file=sys.stderr)
        raise SystemExit(2)


def main() -> None:
    """Install under a lock file; exit 2 with the tool's own words when a step fails."""
    try:
        handle = (ROOT / ".lock").open("w")
    except OSError as error:
        print(f"error: cannot write to {ROOT}: {error.strerror}\n  cure: clone it where you may write", file=sys.stderr)
        raise SystemExit(2) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("inv: another inv is installing, waiting for it ...", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        if fresh():
            return
        commands = install_commands()
        packages = sum("==" in line for line in LOCK.read_text(encoding="utf-8").splitlines())
        print(f"inv: installing the lab's tools into {VENV} (once)", file=sys.stderr)
        for command in commands:
            carry_out(command, packages)
        draft = MARK.with_suffix(".draft")
        shutil.copyfile(LOCK, draft)
        draft.replace(MARK)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\ninv: interrupted; the next start begins the install anew", file=sys.stderr)
        raise SystemExit(130) from None
