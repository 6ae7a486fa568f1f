"""Others' images by digest: a file of docker/ keeps what a name meant when it was first used."""

from __future__ import annotations

import json
from pathlib import Path

from gpulab.common.console import console
from gpulab.common.paths import shown


def kept(file: Path) -> dict[str, str]:
    """Each image's digest by its name."""
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return known


def with_digest(name: str, file: Path) -> str:
    """`name` with the digest that `file` keeps of it; the bare name where it has none yet."""
    known = kept(file)
    return f"{name}@{known[name]}" if name in known else name


def keep(name: str, digest: str, file: Path) -> None:
    """From now on `name` is the image of this digest, and no other."""
    known = {**kept(file), name: digest}
    file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    console.print(f"  {name} is {digest} from now on: commit {shown(file)}, so that it is so for everyone")
