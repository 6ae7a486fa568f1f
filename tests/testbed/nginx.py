"""nginx where no registry is: Debian's own program in an image that the hosts have."""

import subprocess
import tempfile
from pathlib import Path

from tests.testbed import engine
from tests.testbed.bed import Testbed
from tests.testbed.images import run
from tests.testbed.paths import CACHE, exclusive
from tests.testbed.stack_images import built

NAME = "testbed/nginx-of-debian"


def program() -> Path:
    """bookworm's nginx, downloaded once: the image of the stack cpu has the libraries that it needs."""
    made = CACHE / "nginx"
    with exclusive(made.name):
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as place:
                subprocess.run(["apt-get", "-qq", "download", "nginx"], cwd=place, check=True, capture_output=True)
                run(["dpkg-deb", "--extract", str(next(Path(place).glob("*.deb"))), f"{place}/root"])
                Path(place, "root/usr/sbin/nginx").rename(made)
    return made


def give(bed: Testbed, host: str) -> str:
    """The image in a host's engine; its name."""
    bed.sh(host, "mkdir -p /opt/nginx")
    engine.docker("cp", str(program()), f"{bed.container(host)}:/opt/nginx/nginx")
    bed.sh(host, f"printf 'FROM {built('cpu')}\\nCOPY nginx /usr/sbin/nginx\\n' > /opt/nginx/Dockerfile")
    bed.sh(host, f"docker build -q -t {NAME} /opt/nginx")
    return NAME
