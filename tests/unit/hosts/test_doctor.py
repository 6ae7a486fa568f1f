"""gpulab/hosts/doctor: every check finds its problem where it is, and is silent or well where it is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gpulab.hosts.doctor import page
from gpulab.hosts.doctor.check import CHECKS, State
from gpulab.hosts.doctor.examine import PARTS, doctor, examine
from gpulab.inside.machine import facts
from gpulab.stacks.stack import load_stack

# A healthy host of a cluster: two GPUs, InfiniBand, everything in its place.
HEALTHY: State = {
    "system": {"glibc": "2.36"},
    "memory": {"gib": 512.0, "shm_gib": 256.0, "memlock_kib": -1},
    "gpus": {
        "pci": [{"address": "0000:01:00.0", "device": "0x2330"}, {"address": "0000:02:00.0", "device": "0x2330"}],
        "driver_loaded": "580.95.05", "driver_installed": "580.95.05",
        "smi": {"status": 0, "gpus": [{}, {}], "complaint": ""},
    },
    "containers": {
        "installed": True, "complaint": "", "engine": "28.5.2", "cgroup_driver": "systemd",
        "runtimes": ["nvidia", "runc"],
        "toolkit": "NVIDIA Container Toolkit CLI version 1.18.2", "device_links": 2,
        "cdi": [{"path": "/var/run/cdi/nvidia.yaml", "driver": "580.95.05", "devices": 2}],
        "cuda_images": {"lab/train:1": "13.0.1"},
    },
    "network": {
        "default": "eth0", "interfaces": {"eth0": {"operstate": "up"}, "eth1": {"operstate": "up"}},
        "rdma": {"mlx5_0": "4: ACTIVE"}, "rdma_nodes": True, "rdma_providers": 8, "listening": [22],
        "own_addresses": ["10.0.0.11"],
    },
    "environment": {
        "variables": {"NCCL_SOCKET_IFNAME": "eth0", "http_proxy": "http://p:1", "no_proxy": "localhost,127.0.0.1"},
        "caches": {
            "MODELSCOPE_CACHE": {"path": "/srv/gpulab/models", "set": True, "file_system": "nfs4", "free_gib": 900.0},
            "TRITON_CACHE_DIR": {"path": "/root/.triton", "set": False, "file_system": "ext4", "free_gib": 900.0},
        },
    },
    "faults": {"xid": []},
    "pythons": [{
        "where": "/opt/venv", "broken": {}, "conflicts": [], "flash_attn_max": "2.8.3",
        "packages": {
            "torch": "2.13.0+cu130", "ms-swift": "4.6.0", "transformers": "5.19.0", "trl": "0.29.1",
            "evalscope": "1.14.1",
            "flash-attn": "2.8.3", "transformer-engine": "2.10.0", "megatron-core": "0.18.0", "mcore-bridge": "1.3.0",
            "vllm": "0.32.0", "flash-linear-attention": "0.4.0", "causal-conv1d": "1.6.0",
        },
    }],
    "lab": {
        "hosts": 2, "locks": {"cpu": True}, "cuda_needs_driver": {"12": "525.60.13", "13": "580.65.06"},
        "works_with": {"megatron-core": ">=0.16,<0.20", "mcore-bridge": ">=1.3"},
    },
}  # fmt: skip

# What is done to the healthy host (path of keys -> value), and what the check must then say.
PROBLEMS: dict[str, list[tuple[str, Any, str]]] = {
    "flash-attn-abi": [
        ("pythons.0.broken", {"flash-attn": "undefined symbol: _ZN3c10"}, "undefined symbol"),
        ("system.glibc", "2.31", "older than 2.32"),
    ],
    "unlocked": [("lab.locks", {"cpu": True, "train": False}, "train has no lock")],
    "evalscope": [("pythons.0.conflicts", ["The package `evalscope` requires `x<1`, but `2` is installed"], "x<1")],
    "transformer-engine": [
        ("pythons.0.broken", {"transformer-engine": "libcudnn.so.9: cannot open"}, "libcudnn"),
        ("pythons.0.packages", {"megatron-core": "0.18.0", "mcore-bridge": "1.3"}, "without TransformerEngine"),
    ],
    "flash-attn-too-new": [("pythons.0.flash_attn_max", "2.7.4", "at most 2.7.4")],
    "megatron-core": [
        ("pythons.0.packages", {"megatron-core": "0.15.2", "mcore-bridge": "1.3"}, "megatron-core 0.15.2"),
        ("pythons.0.packages", {"megatron-core": "0.18.0"}, "mcore-bridge is missing"),
    ],
    "vllm-pair": [("pythons.0.conflicts", ["The package `vllm` requires another `torch`"], "another `torch`")],
    "trl-transformers": [("pythons.0.conflicts", ["The package `ms-swift` requires `trl<1.0`"], "trl<1.0")],
    "image-driver": [("gpus.driver_loaded", "570.86.10", "which needs driver 580.65.06")],
    "silent-torch-fallback": [("pythons.0.broken", {"causal-conv1d": "no"}, "only flash-linear-attention")],
    "rendezvous": [
        ("environment.variables", {"MASTER_ADDR": "127.0.0.1"}, "MASTER_ADDR=127.0.0.1"),
        ("network.listening", [29500], "29500 is in use"),
        ("network.own_addresses", ["127.0.1.1"], "127.0.1.1"),
    ],
    "nccl-interface": [
        ("environment.variables", {"NCCL_SOCKET_IFNAME": "bond0"}, "bond0"),
        ("environment.variables", {}, "eth0, eth1 are up"),
    ],
    "infiniband-unused": [
        ("environment.variables", {"NCCL_IB_DISABLE": "1"}, "NCCL_IB_DISABLE=1"),
        ("memory.memlock_kib", 8192, "8192"),
        ("network.rdma_nodes", False, "/dev/infiniband"),
        ("network.rdma", {"mlx5_0": "1: DOWN"}, "no active port"),
    ],
    "caches": [
        ("environment.caches.MODELSCOPE_CACHE.file_system", "ext4", "each host's own"),
        ("environment.caches.TRITON_CACHE_DIR.free_gib", 3.0, "3.0 GiB free"),
    ],
    "local-proxy": [("environment.variables.no_proxy", "example.com", "http_proxy set")],
    "no-driver": [("gpus.driver_loaded", "", "no driver is loaded")],
    "nvml-mismatch": [
        ("gpus.smi.complaint", "Failed to initialize NVML: Driver/library version mismatch", "mismatch"),
        ("gpus.driver_installed", "590.10", "installed 590.10, loaded 580.95.05"),
    ],
    "no-toolkit": [("containers.toolkit", "", "no nvidia-ctk"), ("containers.runtimes", ["runc"], "runc")],
    "engine-down": [("containers.engine", "", "no answer")],
    "gpus-lost-on-reload": [("containers.device_links", 0, "/dev/char")],
    "stale-cdi": [("gpus.driver_loaded", "590.10", "of driver 580.95.05, loaded is 590.10")],
    "cdi-before-driver": [("containers.cdi", [], "no list"), ("containers.cdi.0.devices", 0, "names no GPU")],
    "shm": [("memory.shm_gib", 0.06, "0.06 GiB")],
    "ibverbs": [("network.rdma_providers", 0, "no provider library")],
    "xid": [("faults.xid", ["79"], "Xid 79")],
}  # fmt: skip
CASES = [(check, *case) for check, cases in PROBLEMS.items() for case in cases]


def findings(state: State) -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in examine("host", state)}


def spoilt(path: str, value: Any) -> State:
    state = copy.deepcopy(HEALTHY)
    *way, last = path.split(".")
    place: Any = state
    for key in way:
        place = place[int(key)] if key.isdigit() else place[key]
    place[last] = value
    return state


def test_every_check_is_tried() -> None:
    assert sorted(PROBLEMS) == sorted(check.id for check in CHECKS)


@pytest.mark.parametrize("check", PROBLEMS)
def test_a_healthy_host_is_well(check: str) -> None:
    assert findings(HEALTHY)[check]["state"] == "well", findings(HEALTHY)[check]


@pytest.mark.parametrize(("check", "path", "value", "evidence"), CASES, ids=[f"{c[0]}:{c[1]}" for c in CASES])
def test_a_problem_is_found_with_its_evidence(check: str, path: str, value: Any, evidence: str) -> None:
    found = findings(spoilt(path, value))[check]
    assert found["state"] == "sick"
    assert evidence in found["evidence"]
    assert found["cure"]


def test_a_machine_without_gpus_has_no_gpu_problems() -> None:
    sick = [name for name, row in findings(spoilt("gpus.pci", [])).items() if row["state"] == "sick"]
    assert sick == []


def test_a_part_that_can_not_be_read_is_no_evidence_and_is_told() -> None:
    found = findings(spoilt("memory", {"error": "PermissionError: no"}))
    assert "shm" not in found
    assert found["memory"]["state"] == "note"
    assert "PermissionError: no" in found["memory"]["evidence"]


MISSING = [
    "The package `ms-swift` requires `rouge`, but it's not installed",  # as uv says it
    "The package `ms-swift` requires `rouge>=1`, but it's not installed",
    "ms-swift 4.6.0 requires rouge, which is not installed.",  # as pip does
]


@pytest.mark.parametrize("line", MISSING)
def test_what_the_labs_own_stack_leaves_out_is_no_problem_and_elsewhere_it_is(line: str) -> None:
    state = spoilt("pythons.0.conflicts", [line])
    assert findings(state)["trl-transformers"]["state"] == "sick"
    state["lab"]["left_out"] = {"/opt/other": ["rouge"]}
    assert findings(state)["trl-transformers"]["state"] == "sick"
    state["lab"]["left_out"] = {"/opt/venv": ["rouge"]}
    assert findings(state)["trl-transformers"]["state"] == "well"
    state["pythons"][0]["conflicts"].append(line.replace("rouge", "accelerate"))
    assert "accelerate" in findings(state)["trl-transformers"]["evidence"]


@pytest.mark.parametrize("name", ["cpu", "megatron-cpu"])  # which is from cpu, and leaves out what that does
def test_a_healthy_machine_with_the_labs_own_stack_ends_well(name, monkeypatch) -> None:
    stack = load_stack(name)
    venv = {"where": str(stack.venv), "packages": {"ms-swift": "4.6.0", "torch": "2.13.0+cpu"}, "broken": {},
            "conflicts": MISSING[:1], "flash_attn_max": ""}  # fmt: skip
    monkeypatch.setattr(type(stack), "installed", True)
    monkeypatch.setattr(facts, "look", lambda *_: {"pythons": [venv]})
    outcome = doctor("", limit="", every=True)
    assert outcome.failures == []
    assert {row["check"]: row["state"] for row in outcome.data["findings"]}["trl-transformers"] == "well"


def test_the_page_is_up_to_date() -> None:
    assert page.PAGE.read_text() == page.page(), "python -m gpulab.hosts.doctor.page makes it anew"


def test_this_machine_can_be_examined() -> None:
    state = facts.look(PARTS)
    assert {part: found["error"] for part, found in state.items() if isinstance(found, dict) and "error" in found} == {}
    assert findings(state)["shm"]["state"] in ("well", "sick")


def test_megatron_without_transformer_engine_is_no_problem_where_torch_is_for_a_cpu() -> None:
    packages = {"megatron-core": "0.18.0", "mcore-bridge": "1.6.5", "torch": "2.13.0+cpu"}
    assert findings(spoilt("pythons.0.packages", packages)).get("transformer-engine", {}).get("state") != "sick"
