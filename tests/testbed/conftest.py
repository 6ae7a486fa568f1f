"""The scenarios' hosts: real ones, kept for the whole run, because booting and installing is what takes the time.

The scenarios of a file build on one another, in the file's order.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.testbed import Node, Testbed, breakages, engine, playbook
from tests.testbed.on_nodes import Nodes, beats, on_hosts
from tests.testbed.paths import REPO
from tests.testbed.standin import image, swift_image
from tests.testbed.standin.packages import FILES
from tests.testbed.standin.repository import Repository
from tests.testbed.variables import stand_ins
from tests.wait import wait_until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where no host can be made there is nothing to try, and that is said."""
    mine = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    reason = engine.lacking("real hosts need")
    for item in mine:
        item.add_marker(pytest.mark.testbed)
        item.add_marker(pytest.mark.timeout(1800))  # the first one makes the hosts' images
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


# What gpu1 has beside its GPUs: an InfiniBand adapter, and NVIDIA's own diagnosis, which finds nothing.
EXTRAS = """
mkdir -p /opt/testbed/rdma/mlx5_0/ports/1; echo '4: ACTIVE' > /opt/testbed/rdma/mlx5_0/ports/1/state
printf '#!/bin/sh\\nexit 0\\n' > /usr/bin/dcgmi; chmod 755 /usr/bin/dcgmi
"""
# What the host without a GPU starts with, so that its scenarios need not wait for downloads.
INSTALLED = ("chrony", "curl", "ethtool", "numactl", "pciutils", "rsync", "docker.io", "prometheus-node-exporter")


# Of the hosts that Slurm is tried on. Its daemons are not there: the role installs them.
BELOW_SLURM = (
    "chrony", "curl", "ethtool", "numactl", "pciutils", "rsync", "docker.io", "docker-cli", "slurm-client",
    *swift_image.NEEDS,
)  # fmt: skip
# Of the driver only the tool that says how many GPUs there are; the user `lab` may use Docker.
WITHOUT_DRIVER = f"""
cat > /usr/bin/nvidia-smi <<'END'
{(FILES / "nvidia-smi").read_text()}
END
chmod 755 /usr/bin/nvidia-smi
mkdir -p /run/nvidia-standin /usr/share/nvidia-standin
echo 1 | tee /run/nvidia-standin/version > /usr/share/nvidia-standin/version
usermod --append --groups docker lab
"""


class Lab:
    """A testbed with its stand-in repository: what a scenario works with."""

    def __init__(self, bed: Testbed, repository: Repository, url: str) -> None:
        self.bed = bed
        self.repository = repository
        self.variables = stand_ins(url, repository) | {"registry_host": bed.nodes[-1].name}
        self.inventory = bed.inventory(variables=self.variables)
        self.ran: list[tuple[str, ...]] = []
        """With what arguments runs went well."""

    def provision(self, *arguments: str, inventory: Path | None = None) -> playbook.Result:
        return playbook.run(inventory or self.inventory, *arguments)

    def converged(self, *arguments: str) -> playbook.Result:
        """Provision, and insist that it went well."""
        result = self.provision(*arguments)
        assert result.code == 0, result.output[-6000:]
        self.ran.append(arguments)
        return result

    def verify(self, hosts: str = "all", *arguments: str) -> dict[str, str]:
        """Run tests/hosts as a user would: check@host -> passed, failed or skipped."""
        report = self.bed.directory / "verify.json"
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "tests/hosts", "-q", "-p", "tests.testbed.outcomes", "-n", "2",
                f"--hosts=ansible://{hosts}", f"--ansible-inventory={self.inventory}", *arguments,
            ],
            cwd=REPO, env=playbook.environment(report) | {"TESTBED_OUTCOMES": str(report)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert report.exists(), done.stdout + done.stderr
        outcomes: dict[str, str] = json.loads(report.read_text())
        return outcomes


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository.standard(tmp_path_factory.mktemp("standin") / "repository")


@contextmanager
def lab(name: str, nodes: list[Node], repository: Repository) -> Iterator[Lab]:
    bed = Testbed.up(nodes, name)
    try:
        with repository.serve(bed.gateway) as url:
            yield Lab(bed, repository, url)
    finally:
        bed.end()


@pytest.fixture(scope="session")
def hosts(repository: Repository) -> Iterator[Lab]:
    """Two fresh GPU hosts, one with Docker's packages and one with the distribution's; and one without a GPU."""
    nodes = [
        Node("gpu1", "bookworm", gpus=8, variables=f"gpu_image={image.NAME}"),
        Node("gpu2", "trixie", gpus=8, variables="gpu_count=8 docker_engine_source=distribution"),
        Node("cpu1", "noble", gpus=0, packages=INSTALLED, variables="docker_engine_source=distribution"),
    ]
    with lab("scenarios", nodes, repository) as three:
        three.bed.sh("gpu1", EXTRAS)
        yield three


@pytest.fixture(scope="session")
def provisioned(hosts: Lab) -> Lab:
    """The same hosts after a run that went well, and with the image that gpu1 is measured in."""
    if () not in hosts.ran:  # the whole site
        hosts.converged()
    hosts.bed.sh("gpu1", breakages.HEALTHY)
    return hosts


@pytest.fixture(scope="session")
def slurm_ground(repository: Repository) -> Iterator[Lab]:
    """A controller and two nodes of different kinds that share a folder, with what comes before Slurm."""
    hosts = [
        Node("head", "trixie", 0, BELOW_SLURM, shares=True, group="controller"),
        Node("node1", "trixie", 2, BELOW_SLURM, shares=True),
        Node("node2", "trixie", 1, BELOW_SLURM, shares=True),
    ]
    with lab("slurm", hosts, repository) as three:
        three.variables |= {"lab_storage_kind": "mounted", "slurm_node_timeout": 20}
        three.inventory = three.bed.inventory(variables=three.variables)
        for node in ("node1", "node2"):
            three.bed.sh(node, WITHOUT_DRIVER)
        three.converged("--tags", "base,lab_storage")
        yield three


@pytest.fixture(scope="session")
def slurm_cluster(slurm_ground: Lab) -> Lab:
    """The same with Slurm, whoever asked for it first."""
    role = ("--tags", "slurm")
    if role not in slurm_ground.ran:
        slurm_ground.converged(*role)
    return slurm_ground


@pytest.fixture(scope="session")
def three_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three hosts that are ready for labs."""
    with on_hosts(("gpu1", "gpu2", "gpu3"), "nodes", tmp_path_factory.mktemp("labs"), gpus=1) as three:
        yield three


@pytest.fixture
def three(three_hosts: Nodes) -> Iterator[Nodes]:
    """The same, nothing of the test's left on them."""
    yield three_hosts
    three_hosts.clear()


@pytest.fixture
def nodes(three: Nodes) -> Nodes:
    """The first two, which labs take that say no number."""
    return replace(three, hosts=three.hosts[:2])


@pytest.fixture
def beating(nodes: Nodes, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A pair that is under way on them: (its inv, its runs folder)."""
    process = nodes.start(tmp_path, beats=2000)
    wait_until(lambda: beats(tmp_path, 1), "both nodes beat", timeout=60)
    yield process, tmp_path
    if process.poll() is None:
        process.kill()
