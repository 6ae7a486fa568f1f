"""A stand-in for a stack's image, made of a testbed host's own files: Python, what the judge needs, and a `swift` that
trains nothing. For tests of what is around a training, where the real image would take minutes."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.testbed.bed import Testbed
from tests.testbed.image_links import data_root, link_image, stopped

NEEDS = ("python3-yaml", "python3-pydantic")
FILES = (
    "bin",
    "lib",
    "lib64",
    "usr/lib64",
    "usr/bin",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/python3*",
    "etc/alternatives",
)
NOT = ("usr/bin/docker*", "usr/bin/containerd*", "usr/bin/ctr", "*/slurm*", "*/perl*", "*/systemd*", "*.a")
SWIFT = Path(__file__).with_name("swift")
MAKE = """
mkdir -p /opt/image/usr/local/bin /opt/image/tmp
cat > /opt/image/usr/local/bin/swift <<'END'
{swift}
END
ln -sf /usr/bin/python3 /opt/image/usr/local/bin/python
chmod 755 /opt/image/usr/local/bin/swift; chmod 1777 /opt/image/tmp
cd /
tar -c {excluded} {files} -C /opt/image usr tmp |
    docker import --change 'ENV PATH=/usr/local/bin:/usr/bin' - {tag}
"""


def stand_in(bed: Testbed, hosts: Sequence[str], tag: str) -> None:
    """Put the stand-in onto the hosts under a stack's tag; the others have the first one's files."""
    first, *others = hosts
    excluded = " ".join(f"--exclude={shlex.quote(pattern)}" for pattern in NOT)
    bed.sh(first, MAKE.format(swift=SWIFT.read_text(), excluded=excluded, files=" ".join(FILES), tag=tag))
    with stopped(bed, others):
        for other in others:
            link_image(data_root(bed, first), data_root(bed, other), tag)
