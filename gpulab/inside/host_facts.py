"""All that a run asks of a host before it begins, as one JSON object: the machine, the node, the engine and its images.
Sent over ssh with the modules that it needs; what is asked is one JSON object, too: the arguments of `facts`.
"""

from __future__ import annotations

import contextlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpulab.inside import node_facts
from gpulab.inside.machine.facts import look
from gpulab.inside.machine.reading import PLACES, said


def facts(parts: list[str], places: dict[str, str], node: list[str], images: list[str]) -> dict[str, Any]:
    """`parts` of what the machine is, its hardware looked for at `places`; what node_facts says, given `node`; the
    engine, and those of `images` that it has. All looked for at once."""
    PLACES.update(places)
    runs, environment, address = node
    with ThreadPoolExecutor() as pool:
        machine = pool.submit(look, parts)
        about, found = pool.submit(engine), pool.submit(having, images)
        here = node_facts.facts(Path(runs), Path(environment), address, Path("/etc/nccl.conf"))
        return {"machine": machine.result(), "node": here, "engine": about.result(), "images": found.result()}


def engine() -> dict[str, Any]:
    """What `docker info` says; nothing where the engine does not answer, for whatever reason."""
    told = objects("info", "--format", "{{json .}}")
    return told[0] if told and told[0].get("ServerVersion") and not told[0].get("ServerErrors") else {}


def having(tags: list[str]) -> dict[str, Any]:
    """What the engine knows of those images that it has."""
    found = objects("image", "inspect", "--format", "{{json .}}", *tags) if tags else []
    return {tag: about for about in found for tag in tags if tag in (about.get("RepoTags") or ())}


def objects(*words: str) -> list[dict[str, Any]]:
    """The JSON objects that `docker WORDS` prints, a line each."""
    with contextlib.suppress(ValueError):
        return [json.loads(line) for line in said("docker", *words)[1].splitlines()]
    return []


if __name__ == "__main__":
    print(json.dumps(facts(**json.loads(sys.argv[1]))))
