"""Runs on the login host, sent over ssh: tells what grows in a run's folder and how the job stands, a JSON line each.

python3 - FOLDER JOB '{"logs/train.log": 4711}' (how much of each file the other side has already)
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path

USAGE = "usage/*.txt"  # what containers use, a file for each node
PATTERNS = ("journal", ".judged/*.json", "*/logging.jsonl", "logs/*.log", USAGE)
EVERY = 0.5  # seconds between two looks at the files
ASK = 2.0  # and at the queue
SETTLED = 3.0
PART = 1 << 20
LIVES = ("", "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED")


def tell(**said: object) -> None:
    """One line for the other side; it is gone when this fails, and so are we."""
    print(json.dumps(said), flush=True)


def grown(folder: Path, have: dict[str, int]) -> bool:
    """Tell what is new in the files; whether there was anything."""
    found = False
    for file in (f for pattern in PATTERNS for f in sorted(folder.glob(pattern))):
        name = str(file.relative_to(folder))
        had, size = have.get(name, 0), file.stat().st_size
        if size == had:
            continue
        had = had if size > had else 0  # written anew
        with file.open("rb") as stream:
            stream.seek(had)
            data = stream.read(PART)
        have[name] = had + len(data)
        tell(file=name, at=had, data=base64.b64encode(data).decode())
        found = True
    return found


def state(job: str) -> dict[str, str]:
    """How the job stands: state, reason, nodes. A job that the controller forgot is over."""
    asked = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, check=False)
    if asked.returncode:
        return {"state": "FORGOTTEN"} if "Invalid job id" in asked.stderr else {}
    said = dict(re.findall(r"(\w+)=(\S*)", asked.stdout))
    names = {"state": "JobState", "reason": "Reason", "nodes": "NodeList", "restarts": "Restarts", "exit": "ExitCode"}
    return {name: said.get(key, "") for name, key in names.items()}


def main() -> None:
    """Tell until the job is over and everything is told."""
    folder, job, have = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    told: dict[str, str] = {}
    asked = since = time.monotonic() - ASK
    while True:
        if time.monotonic() - asked >= ASK:
            asked, now = time.monotonic(), state(job)
            if now and now != told:
                told, since = now, asked
                tell(**now)
        # A job that is queued anew looks for a moment as if it were over.
        over = told.get("state", "") not in LIVES and time.monotonic() - since > SETTLED
        if not grown(folder, have) and over:
            tell(over=True)
            return
        tell(alive=True)
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
