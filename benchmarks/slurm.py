"""Launch overhead of a job: from the command to the first line of its step, `./inv lab --engine slurm` against what one
would type by hand on the login host, in turns on the same cluster. The lab and the image are the stand-ins of tests.

python benchmarks/slurm.py .cache/testbed/beds/slurm/gpus.ini [ROUNDS]   (tests/testbed makes the cluster)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpulab.hosts.inventory import load_hosts  # noqa: E402
from gpulab.hosts.login import login_host  # noqa: E402
from gpulab.hosts.ssh import command  # noqa: E402
from gpulab.image import Image  # noqa: E402
from gpulab.stacks import load_stack  # noqa: E402

LABS = ROOT / "tests" / "testbed" / "slurm_labs"
FIRST_LINE = "from step 1"
SWIFT = "swift sft --max_steps 1 --save_steps 1 --learning_rate 0 --output_dir /tmp"


def by_inv(inventory: str) -> float:
    """Seconds until the step's first line is in its log, here."""
    with tempfile.TemporaryDirectory() as runs:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.testbed.inv_on_labs", str(LABS), "lab", "job", "--engine", "slurm",
             "--hosts", inventory],
            cwd=ROOT, env={**os.environ, "GPULAB_RUNS": runs}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while not any(FIRST_LINE in log.read_text() for log in Path(runs).glob("*/*/logs/train.log")):
            if process.poll():
                raise SystemExit("the lab failed: run it by itself to see why")
            time.sleep(0.05)
        taken = time.monotonic() - began
        process.wait()
    return taken


def by_hand(inventory: str) -> float:
    """Seconds until the same line comes from `srun docker run` over ssh."""
    login = login_host(load_hosts(inventory))
    tag = Image(load_stack("cpu")).tag
    began = time.monotonic()
    process = subprocess.Popen(
        command(login, "bash", "-c", f"srun docker run --rm {tag} {SWIFT}"),
        cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout  # noqa: S101 (a pipe, see above)
    if FIRST_LINE not in process.stdout.readline():
        raise SystemExit("srun failed: run it by itself to see why")
    taken = time.monotonic() - began
    process.communicate()
    return taken


def main() -> None:
    """Both ways in turns, then the medians and their ratio."""
    inventory, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ways: dict[str, Callable[[str], float]] = {"./inv lab --engine slurm": by_inv, "ssh, srun, docker run": by_hand}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way(inventory))
            print(f"{name:26} {taken[name][-1]:6.1f} s", flush=True)
    inv, hand = (statistics.median(seconds) for seconds in taken.values())
    print(f"medians {inv:.1f} s and {hand:.1f} s, ratio {inv / hand:.1f}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
