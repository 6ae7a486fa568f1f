"""Images of real Debian and Ubuntu hosts: mmdebstrap, then `docker import`. No image is ever pulled."""

import base64
import hashlib
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.testbed.engine import docker
from tests.testbed.paths import CACHE, exclusive

DEBIAN, UBUNTU = ("bookworm", "trixie"), ("jammy", "noble")
# What a host has after its installer: enough for ssh, sudo and Ansible, nothing of the lab.
BASE = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "python3-apt",
    "iproute2", "iputils-ping", "ca-certificates", "procps", "kmod", "gpg", "gpgv",
)  # fmt: skip
LABINIT = Path(__file__).with_name("labinit")
# Hosts that are thrown away need not survive a power cut, so dpkg does not wait for the disk; and nobody reads there
# what a package is for, in any language. Both stay in the file system; package lists, too, as an installer leaves them.
OPTIONS = (
    "--variant=minbase", "--skip=cleanup/apt/lists", "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"', '--setup-hook=sed -i /-security/d "$1/etc/apt/sources.list"',
)  # fmt: skip
# Only on Debian is apt what every system has; and bookworm would take all of Perl to say that its /usr is merged.
ADDED = {"jammy": ("apt",), "noble": ("apt",), "bookworm": ("usr-is-merged",)}
MERGED = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
# The testbed speaks for hosts only; the kernel is the machine's, so the units that manage hardware have no work.
RECIPE = """\
set -e
cd "$ROOT"
rm -f etc/ssh/ssh_host_* etc/machine-id
: > etc/machine-id
ln -sf /dev/null etc/systemd/system/systemd-udevd.service
ln -sf /dev/null etc/systemd/system/systemd-udev-trigger.service
ln -sf /dev/null etc/systemd/system/getty.target
for user in lab asks; do chroot . useradd --create-home --shell /bin/bash $user; done
echo 'asks:the-right-password' | chroot . chpasswd
echo 'lab ALL=(ALL) NOPASSWD: ALL' > etc/sudoers.d/lab
echo 'asks ALL=(ALL) ALL' > etc/sudoers.d/asks
chmod 440 etc/sudoers.d/*
"""


def identity(suite: str, packages: tuple[str, ...], recipe: str) -> str:
    """12 hex digits of what a file system is made of."""
    return hashlib.sha256("\n".join([suite, *packages, *OPTIONS, recipe]).encode()).hexdigest()[:12]


def rootfs(suite: str, packages: tuple[str, ...] = BASE, recipe: str = RECIPE) -> Path:
    """The cached file system of a suite, made when its recipe is new."""
    packages += ADDED.get(suite, ())
    tarball = CACHE / f"rootfs-{suite}-{identity(suite, packages, recipe)}.tar"
    with exclusive(tarball.name):
        if not tarball.exists():
            _make_rootfs(tarball, suite, packages, recipe)
    return tarball


def _make_rootfs(tarball: Path, suite: str, packages: tuple[str, ...], recipe: str) -> None:
    options = [*OPTIONS, f"--include={','.join(packages)}", f"--customize-hook=ROOT=$1\n{recipe}"]
    if suite == "bookworm":
        options.append(MERGED)
    if suite in UBUNTU:
        options += ["--components=main,universe", f"--keyring={ubuntu_keyring()}"]
    with tempfile.TemporaryDirectory(prefix=f"rootfs-{suite}-", dir=CACHE) as work:
        run(["env", f"TMPDIR={work}", "mmdebstrap", *options, suite, f"{work}/rootfs.tar"])
        Path(work, "rootfs.tar").rename(tarball)


def ubuntu_keyring() -> Path:
    """The keys that sign Ubuntu, from Debian's newest release: this machine's own may not have them."""
    keyring = CACHE / "ubuntu-archive-keyring.gpg"
    with exclusive(keyring.name):
        if not keyring.exists():
            fetch = "(apt-get update && apt-get install -y --no-install-recommends ubuntu-keyring) >&2"
            script = f"{fetch} && base64 /usr/share/keyrings/{keyring.name}"
            told = docker("run", "--rm", "--network", "testbed-build", base_image(DEBIAN[-1]), "sh", "-c", script)
            keyring.write_bytes(base64.b64decode(told.stdout))
    return keyring


def base_images(suites: set[str]) -> None:
    """Make the images of several suites side by side."""
    wanted = suites | ({DEBIAN[-1]} if suites & set(UBUNTU) else set())
    for distribution in (DEBIAN, UBUNTU):
        with ThreadPoolExecutor() as pool:
            list(pool.map(base_image, wanted & set(distribution)))


def base_image(suite: str) -> str:
    """The image of a fresh host: the file system and /labinit."""
    tarball = rootfs(suite)
    identity = tarball.name.split(".")[0].rsplit("-", 1)[1]
    files = f"testbed/{suite}-files:{identity}"
    tag = f"testbed/{suite}:{identity}-{hashlib.sha256(LABINIT.read_bytes()).hexdigest()[:12]}"
    with exclusive(tag):
        if not have(files):
            docker("import", str(tarball), files)
        if not have(tag):
            with tempfile.TemporaryDirectory() as context:
                Path(context, "Dockerfile").write_text(f"FROM {files}\nCOPY labinit /labinit\n")
                shutil.copy2(LABINIT, context)
                docker("build", "-t", tag, context)
    return tag


def image_with(suite: str, *packages: str) -> str:
    """A host on which some packages are there already: for tests whose subject comes after them."""
    base = base_image(suite)
    tag = f"testbed/{suite}-with:{hashlib.sha256(' '.join([base, *packages]).encode()).hexdigest()[:12]}"
    recipe = (
        f"FROM {base}\n"
        "RUN apt-get update && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -y --no-install-recommends {' '.join(packages)} && apt-get clean\n"
    )
    with exclusive(tag):
        if not have(tag):
            docker("build", "--network", "testbed-build", "-t", tag, "-", input=recipe)
    return tag


def have(tag: str) -> bool:
    return docker("image", "inspect", tag, check=False).returncode == 0


def run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {(done.stdout + done.stderr)[-2000:]}")
