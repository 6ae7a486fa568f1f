"""How long provisioning and verifying take as hosts are added, against a stock playbook with the same outcome.

    .venv/bin/python benchmarks/provision.py --hosts 1 2 4 8

On real hosts of tests/testbed. Ours: `inv provision --tags base,docker_engine`. Stock: tests/testbed/stock.yml with
Ansible's own defaults (five forks, no pipelining, connections kept for a minute). Both on fresh hosts of the same
image, in the same run; the second run changes nothing in either. With --installed the packages are there from the
start, so that neither waits for downloads: the first run then writes settings only. All hosts share this machine's
processors: the curves bend earlier than with real hosts, for both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.testbed import Node, Testbed  # noqa: E402
from tests.testbed.standin import serving  # noqa: E402
from tests.testbed.variables import stand_ins  # noqa: E402

OURS = [sys.executable, str(ROOT / "gpulab/__main__.py")]
ROLES = ["--tags", "base,docker_engine"]


PACKAGES = (
    "chrony", "curl", "ethtool", "numactl", "pciutils", "rsync",
    "docker.io", "docker-cli", "docker-buildx", "docker-compose",
)  # fmt: skip


def bring_up(count: int, name: str, packages: tuple[str, ...]) -> Path:
    """Fresh hosts, and the inventory that reaches them."""
    bed = Testbed.up([Node(f"host{number}", "trixie", packages=packages) for number in range(1, count + 1)], name)
    url, repository = serving.start(bed.directory, bed.gateway)
    return bed.inventory(variables={**stand_ins(url, repository), "docker_engine_source": "distribution"})


def take_down(name: str) -> None:
    """Remove the hosts; the engine stays for the next."""
    bed = Testbed(name, [])
    serving.stop(bed.directory)
    bed.down()


def timed(command: list[str], folder: Path = ROOT) -> float:
    """Seconds that a command takes. Raises RuntimeError with its last words when it fails."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-1500:]}")
    return round(time.monotonic() - began, 1)


def measure(count: int, packages: tuple[str, ...]) -> dict[str, Any]:
    """First and second run of both, and verify."""
    row: dict[str, Any] = {"hosts": count}
    try:
        inventory = str(bring_up(count, "bench", packages))
        ours = [*OURS, "provision", "--hosts", inventory, *ROLES, "--json"]
        row["ours"] = {run: timed(ours) for run in ("first", "second")}
        checks = [*OURS, "verify", "--hosts", inventory, "--only", "test_base or test_docker_engine", "--json"]
        row["verify"] = timed(checks)
    finally:
        take_down("bench")
    try:
        own = bring_up(count, "stock", packages)
        program = str(Path(sys.executable).parent / "ansible-playbook")
        playbook = [program, "-i", str(own), str(ROOT / "tests/testbed/stock.yml")]
        # From a folder without our ansible.cfg.
        row["stock"] = {run: timed(playbook, own.parent) for run in ("first", "second")}
    finally:
        take_down("stock")
    row["ratio"] = {run: round(row["ours"][run] / row["stock"][run], 2) for run in ("first", "second")}
    return row


def main() -> None:
    """Measure and write it down; a table for people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--installed", action="store_true", help="the packages are there before the first run")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmark-provision.json")
    arguments = parser.parse_args()
    rows = []
    print("hosts   first: ours stock ratio   second: ours stock ratio   verify", flush=True)
    for count in arguments.hosts:
        row = measure(count, PACKAGES if arguments.installed else ())
        rows.append(row)
        o, s, r = row["ours"], row["stock"], row["ratio"]
        first, second = (f"{o[run]:11} {s[run]:5} {r[run]:5}" for run in ("first", "second"))
        row["load"] = round(os.getloadavg()[0], 1)
        print(f"{count:5}   {first}   {second}    {row['verify']:6}   load {row['load']}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    about = {"when": datetime.now(timezone.utc).isoformat(timespec="seconds"), "processors": os.cpu_count()}
    arguments.out.write_text(
        json.dumps({**about, "installed": arguments.installed, "rows": rows}, indent=1), encoding="utf-8"
    )
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
