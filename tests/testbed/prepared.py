"""Hosts that are ready for labs in a second: what provision leaves, without running it, and a stack's image."""

from collections.abc import Sequence

from tests.testbed.bed import Node, Testbed
from tests.testbed.stack_images import built, give

ENGINE = ("docker.io", "docker-cli", "iptables", "faketime")
# The lab's user and group, the shared folder, an engine that the login may use.
PREPARED = """
groupadd -g 2000 gpulab; useradd -u 2000 -g gpulab gpulab; usermod -aG docker lab
install -d -m 2775 -o gpulab -g gpulab /srv/gpulab /srv/gpulab/runs /srv/gpulab/models
systemctl enable -q --now docker
"""


def prepared(hosts: Sequence[str], name: str, gpus: int = 0) -> Testbed:
    """A testbed of hosts that share a folder and have the image of the stack cpu."""
    tag = built("cpu")
    bed = Testbed.up([Node(host, "trixie", gpus, ENGINE, shares=True) for host in hosts], name)
    for host in hosts:
        bed.sh(host, PREPARED)
    give(bed, hosts, tag)
    return bed
