"""python -m tests.testbed up --nodes 2 | down"""

import argparse
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from tests.testbed import Node, Testbed, engine
from tests.testbed.images import DEBIAN
from tests.testbed.standin import serving
from tests.testbed.variables import stand_ins


def up(
    name: str,
    nodes: int,
    gpus: int,
    *,
    shared: bool = False,
    controller: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> Path:
    """The inventory of so many new hosts. `shared`: /srv/gpulab is one folder for all, as many nodes need it;
    `controller`: one host more, without a GPU, for Slurm's."""
    suites = cycle(DEBIAN)
    shared |= controller
    hosts = [
        Node(f"gpu{i}", DEBIAN[-1] if controller else next(suites), gpus, shares=shared) for i in range(1, nodes + 1)
    ]
    # Slurm's controller has the newest release: it understands older ones, and not the other way round.
    hosts += [Node("head", DEBIAN[-1], 0, shares=True, group="controller")] if controller else []
    bed = Testbed.up(hosts, name, say)
    say("a stand-in for NVIDIA's and Docker's repositories")
    url, repository = serving.start(bed.directory, bed.gateway)
    variables = {**stand_ins(url, repository), "docker_engine_source": "distribution"}
    return bed.inventory(variables=variables | ({"lab_storage_kind": "mounted"} if shared else {}))


def down(name: str) -> None:
    bed = Testbed(name, [])
    serving.stop(bed.directory)
    bed.down()
    if engine.is_up() and not engine.has_hosts():
        engine.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.testbed", description="Real Debian hosts to try the roles on."
    )
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--nodes", type=int, default=2, help="how many hosts, Debian releases in turn (default 2)")
    parser.add_argument("--gpus", type=int, default=2, help="stand-in GPUs per host (default 2, 0: none)")
    parser.add_argument("--shared", action="store_true", help="/srv/gpulab is one folder for all")
    parser.add_argument("--controller", action="store_true", help="one host more, for Slurm's controller")
    parser.add_argument("--name", default="dev", help="the testbed's name: testbeds of other names stay (default dev)")
    arguments = parser.parse_args()
    if arguments.verb == "up":
        more = {"shared": arguments.shared, "controller": arguments.controller}
        print(up(arguments.name, arguments.nodes, arguments.gpus, **more))
    else:
        down(arguments.name)


if __name__ == "__main__":
    main()
