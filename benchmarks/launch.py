"""What starting a step on several hosts costs: from the command to the first rank's first line, and from a killed
rank to the report. `./inv lab` over ssh and as a Slurm job, against torchrun started by hand over ssh, in turns.

python benchmarks/launch.py gpus.ini --nodes 2 4 [--rounds 3] [--cut]

The hosts have the image of the stack cpu; with a controller in the inventory they are a Slurm cluster, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpulab.hosts.inventory import Host, load_hosts  # noqa: E402
from gpulab.hosts.ssh import command as over_ssh  # noqa: E402
from gpulab.images.image import Image  # noqa: E402
from gpulab.stacks.stack import load_stack  # noqa: E402

FIRST_LINE = "a rank is here"
SAY = f"import os, time; print('{FIRST_LINE}', flush=True); time.sleep(float(os.environ.get('STAY', '0')))"
TORCHRUN = (
    "torchrun --nnodes {nnodes} --node_rank {node_rank} --nproc_per_node 1 --master_addr {master_addr} "
    "--master_port {master_port} --no_python"
)
LAB = f"""\
title: Every rank says a line
upstream: none
curriculum: none
stack: cpu
needs: {{nodes: 2, minutes: 1, disk_gib: 0.1}}
steps:
  say:
    run: {TORCHRUN} python say.py
    spread: true
    env: {{STAY: "%s"}}
rehearse: {{}}
"""
PATIENCE = 300  # seconds for one start


def wait_for(condition: Callable[[], object], what: str) -> float:
    """The moment at which it is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)
    return time.monotonic()


@contextmanager
def by_inv(inventory: str, engine: str, nodes: int, stay: int) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`./inv lab` on a lab of one step: its process, and the folder of its runs."""
    with tempfile.TemporaryDirectory() as place:
        lab, runs = Path(place) / "labs" / "launch" / "say", Path(place) / "runs"
        lab.mkdir(parents=True)
        (lab / "lab.yaml").write_text(LAB % stay)
        (lab / "say.py").write_text(SAY)
        words = ["lab", "say", "--engine", engine, "--hosts", inventory, "--limit", "gpu", "--nodes", str(nodes)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.testbed.inv_on_labs", str(lab.parents[1]), *words, "--rehearse"],
            cwd=ROOT, env={**os.environ, "GPULAB_RUNS": str(runs)}, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process, runs
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()


def said(process: subprocess.Popen[str], runs: Path) -> bool:
    """Whether a rank's first line is in the log here. Ends the benchmark with inv's own words when inv has failed."""
    if process.poll():
        raise SystemExit(process.communicate()[0])
    return any(FIRST_LINE in log.read_text() for log in runs.glob("*/*/logs/say*.log"))


def start(inventory: str, engine: str, nodes: int) -> float:
    """Seconds from `./inv lab` to the first line."""
    began = time.monotonic()
    with by_inv(inventory, engine, nodes, 0) as (process, runs):
        return wait_for(lambda: said(process, runs), f"{engine} on {nodes}") - began


def start_by_hand(hosts: list[Host], nodes: int) -> float:
    """Seconds to the same line of torchrun in the same image, a `docker run` on each host over ssh, all at once."""
    tag = Image(load_stack("cpu")).tag
    told = {"nnodes": nodes, "master_addr": hosts[0].address, "master_port": 29500}
    began = time.monotonic()
    started = []
    for rank, host in enumerate(hosts[:nodes]):
        argv = [*TORCHRUN.format(**told, node_rank=rank).split(), "python", "-c", SAY]
        run = ["docker", "run", "--rm", "--network", "host", tag, *argv]
        started.append(
            subprocess.Popen(
                over_ssh(host, *run),
                cwd=ROOT,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    assert started[0].stdout  # noqa: S101 (a pipe, see above)
    line = started[0].stdout.readline()
    taken = time.monotonic() - began
    told_by = [process.communicate(timeout=PATIENCE)[1] for process in started]
    if FIRST_LINE not in line:
        raise SystemExit(f"by hand: {told_by[0]}")
    return taken


def cut(inventory: str, hosts: list[Host], engine: str, nodes: int) -> float:
    """Seconds from the death of the last rank's container to the end of `./inv lab`, which has reported it by then."""
    label = {"docker": "gpulab.run", "slurm": "gpulab.job"}[engine]
    kill = f"docker ps -q --filter label={label} | xargs docker kill"
    with by_inv(inventory, engine, nodes, PATIENCE) as (process, runs):
        wait_for(lambda: said(process, runs), f"{engine} on {nodes}")
        subprocess.run(over_ssh(hosts[nodes - 1], "sh", "-c", kill), cwd=ROOT, check=True, capture_output=True)
        began = time.monotonic()
        out, _ = process.communicate(timeout=PATIENCE)
        if process.returncode != 1:
            raise SystemExit(f"a killed rank, and inv ended with {process.returncode}: {out}")
        with suppress(StopIteration):
            print("   ", next(line for line in out.splitlines() if "exit 137" in line or "ended" in line).strip())
    return time.monotonic() - began


def main() -> None:
    """All ways in turns, so that what else the machine does falls on each; then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inventory")
    parser.add_argument("--nodes", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cut", action="store_true", help="also the time from a killed rank to the report")
    args = parser.parse_args()
    every = load_hosts(args.inventory)
    hosts = [host for host in every if "gpu" in host.groups]
    engines = ["docker", *(["slurm"] if any("controller" in host.groups for host in every) else [])]
    for nodes in args.nodes:
        ways: dict[str, Callable[[], float]] = {"by hand": lambda n=nodes: start_by_hand(hosts, n)}  # type: ignore[misc]
        for engine in engines:
            ways[engine] = lambda e=engine, n=nodes: start(args.inventory, e, n)  # type: ignore[misc]
            if args.cut:
                ways[f"{engine}, cut"] = lambda e=engine, n=nodes: cut(args.inventory, hosts, e, n)  # type: ignore[misc]
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.rounds):
            for name, way in ways.items():
                taken[name].append(way())
                print(f"{nodes} hosts, {name:14} {taken[name][-1]:6.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
        median = {name: statistics.median(seconds) for name, seconds in taken.items()}
        told = [f"{name} {seconds:.1f} ({seconds / median['by hand']:.1f})" for name, seconds in median.items()]
        print(f"{nodes} hosts, medians (and their ratio to by hand): {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
