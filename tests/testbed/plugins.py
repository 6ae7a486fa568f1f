"""Docker's buildx and compose as client plugins: bookworm's packages have none of today's, sid's run here as they are.

`python -m tests.testbed.plugins` prints the folder: `export DOCKER_CONFIG=$(python -m tests.testbed.plugins)`.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.testbed.paths import CACHE, exclusive

PACKAGES = ("docker-buildx", "docker-compose")
SOURCE = "deb [check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} sid main\n"


def docker_config() -> Path:
    """A folder for DOCKER_CONFIG with both plugins in it, made once."""
    made = CACHE / "docker-config"
    with exclusive(made.name):
        if not made.is_dir():
            _make(made)
    return made


def _make(made: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="plugins-", dir=CACHE))
    try:
        _download(work)
        for deb in work.glob("*.deb"):
            _run(["dpkg-deb", "--extract", str(deb), str(work / "root")], work)
        plugins = work / "config" / "cli-plugins"
        plugins.parent.mkdir()
        shutil.copytree(work / "root/usr/libexec/docker/cli-plugins", plugins)
        (work / "config").rename(made)
    finally:
        shutil.rmtree(work)


def _download(work: Path) -> None:
    """Sid's packages by apt itself, with lists of its own: the machine's stay what they are."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"], capture_output=True, text=True, check=True
    ).stdout
    address = next(line.split()[1] for line in told.splitlines() if line.startswith("Debian "))  # as this machine's
    (work / "sources.list").write_text(SOURCE.format(address))
    own = {
        "Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": work / "lists", "Dir::Cache": work / "cache", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(word for key, value in own.items() for word in ("-o", f"{key}={value}"))]
    _run([*apt, "update"], work)
    _run([*apt, "download", *PACKAGES], work)


def _run(argv: list[str], cwd: Path) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {(done.stdout + done.stderr)[-2000:]}")


if __name__ == "__main__":
    print(docker_config())
