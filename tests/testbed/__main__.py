"""python -m tests.testbed up --nodes 2 | down"""

import argparse
from itertools import cycle

from tests.testbed import Node, Testbed, engine
from tests.testbed.images import DEBIAN
from tests.testbed.standin import serving
from tests.testbed.variables import stand_ins


def up(name: str, nodes: int, gpus: int) -> None:
    suites = cycle(DEBIAN)
    bed = Testbed.up([Node(f"gpu{i}", next(suites), gpus) for i in range(1, nodes + 1)], name)
    url, repository = serving.start(bed.directory, bed.gateway)
    print(bed.inventory(variables={**stand_ins(url, repository), "docker_engine_source": "distribution"}))


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
    parser.add_argument("--name", default="dev", help="the testbed's name: testbeds of other names stay (default dev)")
    arguments = parser.parse_args()
    if arguments.verb == "up":
        up(arguments.name, arguments.nodes, arguments.gpus)
    else:
        down(arguments.name)


if __name__ == "__main__":
    main()
