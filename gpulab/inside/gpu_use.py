"""Who uses a host's GPUs, as one JSON object: read only, the standard library only.

`python3 - CLAIM`: its GPUs, the programs on them, and the run that has claimed the host by a container of
that name.
"""

from __future__ import annotations

import json
import pwd
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpulab.inside.machine import reading

GPU = ("index", "uuid", "name", "utilization.gpu", "memory.used", "memory.total")
PROGRAM = ("gpu_uuid", "pid", "process_name", "used_gpu_memory")
FORMAT = "--format=csv,noheader,nounits"
RUN, BY = "gpulab.run", "gpulab.by"  # labels, as common/docker.py and hosts/reservation.py write them


def said(*argv: str) -> tuple[int, str]:
    """(status, what it said) of a program; 127 where there is none."""
    status, out, complaint = reading.said(*argv, seconds=15)
    return status, out if status == 0 else complaint or out


def table(text: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """nvidia-smi's lines, a dictionary each."""
    rows = ([part.strip() for part in line.split(",")] for line in text.splitlines() if line)
    return [dict(zip(fields, row, strict=False)) for row in rows]


def number(text: str) -> float | None:
    """What stands there as a number; nvidia-smi says [N/A] where it does not know."""
    found = re.match(r"\d+(\.\d+)?", text)
    return float(found[0]) if found else None


def programs(proc: Path = Path("/proc")) -> list[dict[str, Any]]:
    """The programs on the GPUs: whose they are, and the run that they belong to."""
    status, text = said("nvidia-smi", f"--query-compute-apps={','.join(PROGRAM)}", FORMAT)
    found = table(text, PROGRAM) if status == 0 else []
    runs = containers() if found else {}
    return [
        {
            "gpu": one["gpu_uuid"], "pid": one["pid"], "name": one["process_name"],
            "mib": number(one.get("used_gpu_memory", "")), "user": owner(proc / one["pid"]),
            "run": runs.get(container(proc / one["pid"]), ""),
        }
        for one in found if "process_name" in one
    ]  # fmt: skip


def owner(process: Path) -> str:
    """Whose a process is: the name, or the number of a user that has none here."""
    try:
        uid = process.stat().st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def container(process: Path) -> str:
    """The container that a process is in."""
    try:
        found = re.search(r"[0-9a-f]{64}", (process / "cgroup").read_text())
    except OSError:
        return ""
    return found[0] if found else ""


def containers() -> dict[str, str]:
    """The containers of runs: by id the run's folder."""
    words = ("--no-trunc", "--filter", f"label={RUN}", "--format", f'{{{{.ID}}}} {{{{.Label "{RUN}"}}}}')
    status, text = said("docker", "ps", *words)
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line) if status == 0 else {}


def claim(name: str) -> dict[str, Any] | None:
    """The run that has the host, whose it is, and for how many seconds."""
    status, text = said("docker", "inspect", "--format", "{{json .Config.Labels}} {{.Created}}", name)
    if status:
        return None
    labels, _, created = text.rpartition(" ")
    told = json.loads(labels) or {}
    began = datetime.fromisoformat(created[:19]).replace(tzinfo=timezone.utc)
    seconds = (datetime.now(timezone.utc) - began).total_seconds()
    return {"run": told.get(RUN, ""), "by": told.get(BY, ""), "seconds": round(seconds)}


def main(name: str) -> None:
    """Print it."""
    status, text = said("nvidia-smi", f"--query-gpu={','.join(GPU)}", FORMAT)
    gpus = [
        {
            "index": one["index"], "uuid": one["uuid"], "name": one["name"],
            "percent": number(one["utilization.gpu"]), "used_mib": number(one["memory.used"]),
            "total_mib": number(one["memory.total"]),
        }
        for one in (table(text, GPU) if status == 0 else []) if len(one) == len(GPU)
    ]  # fmt: skip
    complaint = "" if status in (0, 127) else text.splitlines()[-1] if text else f"nvidia-smi ended with {status}"
    print(json.dumps({"gpus": gpus, "programs": programs(), "claim": claim(name), "complaint": complaint}))


if __name__ == "__main__":
    main(sys.argv[1])
