"""python -m tests.testbed up --nodes 2 | down | status"""

import argparse
from itertools import cycle

from tests.testbed import Node, Testbed, engine
from tests.testbed.images import SUITES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.testbed", description="Real Debian hosts to try the roles on.")
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--nodes", type=int, default=2, help="how many hosts, Debian releases in turn (default 2)")
    parser.add_argument("--gpus", type=int, default=2, help="stand-in GPUs per host (default 2, 0: none)")
    parser.add_argument("--name", default="dev", help="the testbed's name: testbeds of other names stay (default dev)")
    arguments = parser.parse_args()
    if arguments.verb == "down":
        Testbed(arguments.name, []).down()
        if not engine.docker("ps", "-q", "--filter", "label=testbed").stdout:
            engine.stop()
        return
    suites = cycle(SUITES)
    bed = Testbed.up([Node(f"gpu{i}", next(suites), arguments.gpus) for i in range(1, arguments.nodes + 1)], arguments.name)
    print(bed.inventory())


main()
