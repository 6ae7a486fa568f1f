"""One model over the GPUs of several hosts, by vLLM's own means: a server on the first, workers on the others.

`swift deploy` has no workers, so it is `vllm serve` that runs. Within a host the model is divided by tensor, over hosts
by pipeline. vLLM's own launcher does without Ray, whose ports ask for no key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpulab.plan import vllm_adapters
from gpulab.plan.plan import Node


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is served: the model under these names, adapters by name, more flags of vLLM's."""

    model: str
    name: str
    adapters: Mapping[str, str]
    flags: Mapping[str, str]


def command(
    served: Model, nodes: Sequence[Node], rank: int, gpus: int, port: int, address: str, meet: str
) -> list[str]:
    """What the node of that rank runs: the first listens on address and port, they meet on another port of its."""
    words = ["vllm", "serve", served.model, "--served-model-name", served.name]
    own = {
        "tensor-parallel-size": gpus, "pipeline-parallel-size": len(nodes), "nnodes": len(nodes), "node-rank": rank,
        "master-addr": nodes[0].address, "master-port": meet,
    }  # fmt: skip
    adapters = [f"{name}={folder}" for name, folder in served.adapters.items()]
    if adapters:
        words.append("--enable-lora")
        own["max-lora-rank"] = vllm_adapters.rank_for([Path(folder) for folder in served.adapters.values()])
    own |= served.flags
    words += [word for key, value in own.items() for word in (f"--{key}", str(value))]
    words += ["--lora-modules", *adapters] if adapters else []
    return [*words, *(["--headless"] if rank else ["--host", address, "--port", str(port)])]


def environment(node: Node) -> dict[str, str]:
    """What the node's processes are told of its network."""
    by = {"NCCL_SOCKET_IFNAME": node.interface, "GLOO_SOCKET_IFNAME": node.interface, "VLLM_HOST_IP": node.address}
    return {**node.nccl, **by, "VLLM_NO_USAGE_STATS": "1"}
