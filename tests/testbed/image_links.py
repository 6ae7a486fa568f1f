"""An image of one engine in the data root of another that rests, its layers as links: no engine writes into a layer. To
save and load it takes half a minute of a processor for each host, and a slow disk minutes for 60,000 files."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.testbed import engine
from tests.testbed.bed import Testbed

IMAGES = Path("image/overlay2")
LAYERS = Path("overlay2")
# As Docker has kept them since 1.10, with containerd's image store off.
ROWS = IMAGES / "imagedb" / "content" / "sha256"
CHAINS = IMAGES / "layerdb" / "sha256"
TAGS = IMAGES / "repositories.json"


def link_image(source: Path, target: Path, tag: str) -> None:
    """Give the engine with the data root `target` an image of that with the data root `source`."""
    repository = tag.partition(":")[0]
    digest = known(source)[repository][tag]
    row = digest.removeprefix("sha256:")
    for chain in chains(json.loads((source / ROWS / row).read_text())["rootfs"]["diff_ids"]):
        link_layer(source, target, chain)
    (target / ROWS).mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / ROWS / row, target / ROWS)
    tags = known(target)
    tags.setdefault(repository, {})[tag] = digest
    (target / TAGS).write_text(json.dumps({"Repositories": tags}))


def known(root: Path) -> dict[str, dict[str, str]]:
    """An engine's images by repository and tag."""
    file = root / TAGS
    said: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"Repositories": {}}
    return dict(said["Repositories"])


def chains(layers: list[str]) -> list[str]:
    """The names of a layer with all below it, from the lowest on: the OCI image specification's chain IDs."""
    found: list[str] = []
    for layer in layers:
        above = f"sha256:{found[-1]} {layer}".encode() if found else b""
        found.append(hashlib.sha256(above).hexdigest() if above else layer.removeprefix("sha256:"))
    return found


def link_layer(source: Path, target: Path, chain: str) -> None:
    """One layer, unless it is there."""
    if (target / CHAINS / chain).exists():
        return
    folder = (source / CHAINS / chain / "cache-id").read_text()
    (target / LAYERS / "l").mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-al", source / LAYERS / folder, target / LAYERS], check=True)
    for file in ("link", "lower", "committed"):  # an engine may write these anew, and not into the other's
        here = target / LAYERS / folder / file
        if here.exists():
            data = here.read_bytes()
            here.unlink()
            here.write_bytes(data)
    short = (target / LAYERS / folder / "link").read_text()
    (target / LAYERS / "l" / short).symlink_to(f"../{folder}/diff")
    (target / CHAINS).mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / CHAINS / chain, target / CHAINS / chain)


def data_root(bed: Testbed, host: str) -> Path:
    """Where a host's engine keeps its data, on this machine."""
    shown = '{{range .Mounts}}{{if eq .Destination "/var/lib/docker"}}{{.Source}}{{end}}{{end}}'
    return Path(engine.docker("inspect", "-f", shown, bed.container(host)).stdout.strip())


@contextmanager
def stopped(bed: Testbed, hosts: Sequence[str]) -> Iterator[None]:
    """The hosts' engines rest meanwhile."""
    for host in hosts:
        bed.sh(host, "systemctl stop docker.socket docker")
    yield
    for host in hosts:
        bed.sh(host, "systemctl start docker.socket docker")
