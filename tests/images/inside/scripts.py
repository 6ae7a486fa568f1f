"""Runs in an image: asks every console script for --help, but those in argv. name -> why it did not answer.

Each is a fork of one process that has imported what most of them import: that takes longer than all the rest.
"""

import gc
import importlib.metadata
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

SECONDS = 120
SHARED = ("torch", "transformers", "transformers.generation", "accelerate.commands.launch", "datasets", "modelscope")


def answer(script: str, log: str) -> None:
    """In a child: be the script, its output in a file. A script of another kind is started as it is."""
    os.setsid()
    opened = os.open(log, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(opened, number)
    with Path(script).open("rb") as file:
        first = file.readline(200).rstrip()
    python = Path(os.fsdecode(first.removeprefix(b"#!"))) if first.startswith(b"#!/") else None
    if not python or not python.exists() or not python.samefile(sys.executable):
        sys.exit(subprocess.run([script, "--help"], stdin=subprocess.DEVNULL, check=False).returncode)
    sys.argv, sys.path[0] = [script, "--help"], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def complaint(name: str) -> str:
    script = shutil.which(name)
    if not script:
        return "it is not there"
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        child = get_context("fork").Process(target=answer, args=(script, log.name))
        child.start()
        child.join(SECONDS)
        if child.exitcode is None:
            child.kill()
            return f"no answer within {SECONDS} s"
        said = log.read().strip().splitlines() or [""]
    return f"exit {child.exitcode}: {said[-1][:300]}" if child.exitcode else ""


os.environ["VLLM_TARGET_DEVICE"] = "cpu"  # vLLM looks for its device first
for module in SHARED:
    with suppress(ImportError):
        import_module(module)
gc.collect()
gc.freeze()  # or each fork copies it all
names = sorted({point.name for point in importlib.metadata.entry_points(group="console_scripts")} - set(sys.argv[1:]))
answers = {name: complaint(name) for name in names}
print(json.dumps({"asked": names, "failed": {name: why for name, why in answers.items() if why}}))
