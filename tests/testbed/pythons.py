"""Base images for the stacks' images where none can be pulled: a slim Debian with the Python asked for.

`python -m tests.testbed.pythons 3.11` starts the testbed's engine and prints the image's name, for `inv build --base`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.testbed import engine
from tests.testbed.engine import docker
from tests.testbed.images import have, identity, rootfs, run
from tests.testbed.paths import CACHE, exclusive

DEBIAN = "bookworm"
DEBIANS_OWN = "3.11"
PACKAGES = ("python3", "ca-certificates", "netbase", "tzdata")  # what Docker's own slim Python has
RECIPE = """\
set -e
cd "$ROOT"
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/*
"""


def python_base(version: str) -> str:
    """The image with Python `version` (X.Y): Debian's own, or else pyenv's copied to /usr/local."""
    with exclusive(f"python-{version}"):
        return _python_base(version)


def base_name(version: str) -> str:
    """Its name, made or not."""
    return f"testbed/python:{version}-{identity(DEBIAN, PACKAGES, RECIPE)}"


def _python_base(version: str) -> str:
    tag = base_name(version)
    if have(tag):
        return tag
    tarball = rootfs(DEBIAN, PACKAGES, RECIPE)
    if version == DEBIANS_OWN:
        docker("import", str(tarball), tag)
        return tag
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        root = Path(place) / "root"
        root.mkdir()
        run(["tar", "-C", str(root), "-xf", str(tarball)])
        copy_python(version, root)
        run(["tar", "-C", str(root), "-cf", f"{place}/root.tar", "."])
        docker("import", f"{place}/root.tar", tag)
    return tag


def copy_python(version: str, root: Path) -> None:
    """pyenv's Python, with its headers (what compiles needs them), without its packages and tests."""
    pyenv = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.strip()
    prefix = max(Path(pyenv, "versions").glob(f"{version}.*"))
    library = Path("lib", f"python{version}")
    for name in (f"bin/python{version}", f"include/python{version}", library):
        source, goal = prefix / name, root / "usr/local" / name
        if source.is_dir():
            left_out = shutil.ignore_patterns("test", "site-packages", "__pycache__", "*.a")
            shutil.copytree(source, goal, symlinks=True, ignore=left_out)
        else:
            shutil.copy2(source, goal)
    for shared in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(shared, root / "usr/local/lib", follow_symlinks=False)
    run(["chroot", str(root), "ldconfig"])
    run(["chown", "-R", "root:root", str(root / "usr/local")])
    run(["chroot", str(root), f"python{version}", "-c", "import ssl, sqlite3, ctypes, lzma, bz2"])


if __name__ == "__main__":
    engine.start()
    print(python_base(sys.argv[1]))
