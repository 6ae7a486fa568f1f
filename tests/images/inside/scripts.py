"""Runs in an image: asks every console script for --help, but those in argv. name -> why it did not answer."""

import importlib.metadata
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

SECONDS = 120


def complaint(name: str) -> str:
    try:
        done = subprocess.run(
            [name, "--help"],
            env=os.environ | {"VLLM_TARGET_DEVICE": "cpu"},  # vLLM looks for its device first
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    except OSError as error:
        return str(error)
    said = (done.stdout + done.stderr).strip().splitlines() or [""]
    return f"exit {done.returncode}: {said[-1][:300]}" if done.returncode else ""


names = sorted({point.name for point in importlib.metadata.entry_points(group="console_scripts")} - set(sys.argv[1:]))
with ThreadPoolExecutor(2) as pool:
    answers = dict(zip(names, pool.map(complaint, names), strict=True))
print(json.dumps({"asked": names, "failed": {name: why for name, why in answers.items() if why}}))
