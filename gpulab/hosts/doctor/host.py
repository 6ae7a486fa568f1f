"""Problems of a GPU host: driver, toolkit, CDI, shared memory, the images it holds."""

from __future__ import annotations

from gpulab.hosts.doctor.check import Finding, State, check, sick, verdict, version, well

LEAST_SHM_GIB = 8


def gpus(state: State) -> int:
    """How many GPUs are on the PCI bus."""
    return len(state.get("gpus", {}).get("pci", []))


@check(
    "no-driver", "a GPU without a working driver", "inv provision --tags nvidia_driver --reboot; then see dkms status"
)
def no_driver(state: State) -> Finding | None:
    if not gpus(state):
        return None
    loaded = state["gpus"]["driver_loaded"]
    return well(loaded) if loaded else sick(f"{gpus(state)} GPUs on the PCI bus, no driver is loaded")


@check(
    "image-driver",
    "an image's CUDA is newer than the driver can serve",
    "a newer driver (inv provision --tags nvidia_driver), or an older image",
    "#9570 #9116 #7297 #6885 #10105 #6609",
)
def image_driver(state: State) -> Finding | None:
    loaded, images = state.get("gpus", {}).get("driver_loaded", ""), state.get("containers", {}).get("cuda_images", {})
    if not loaded or not images:
        return None
    needs = state.get("lab", {}).get("cuda_needs_driver", {})
    late = [
        f"{name} has CUDA {cuda}, which needs driver {needs[cuda.split('.')[0]]}; loaded is {loaded}"
        for name, cuda in images.items()
        if cuda.split(".")[0] in needs and version(loaded) < version(needs[cuda.split(".")[0]])
    ]
    return verdict(late, f"driver {loaded} serves {len(images)} images")


@check(
    "nvml-mismatch",
    "the driver was upgraded and not reloaded: NVML mismatch until a reboot",
    "reboot (inv provision --reboot), and keep the packages held",
    "deepops #1186",
)
def nvml_mismatch(state: State) -> Finding | None:
    found = state.get("gpus", {})
    if not found.get("driver_loaded"):
        return None
    problems = []
    if "mismatch" in found["smi"]["complaint"]:
        problems.append(found["smi"]["complaint"].splitlines()[0])
    if found["driver_installed"] and found["driver_installed"] != found["driver_loaded"]:
        problems.append(f"installed {found['driver_installed']}, loaded {found['driver_loaded']}")
    return verdict(problems, found["driver_loaded"])


@check(
    "no-toolkit",
    "GPUs, and containers without the NVIDIA toolkit: a silent host of no GPUs",
    "inv provision --tags docker_engine,nvidia_container_toolkit",
    "dstack #1947",
)
def no_toolkit(state: State) -> Finding | None:
    found = state.get("containers", {})
    if not gpus(state) or not found.get("installed"):
        return None
    problems = [] if found["toolkit"] else ["no nvidia-ctk"]
    if found["engine"] and "nvidia" not in found["runtimes"]:
        problems.append(f"the engine's runtimes are {', '.join(found['runtimes'])}")
    return verdict(problems, found["toolkit"])


@check(
    "engine-down", "the container engine does not answer", "systemctl status docker; inv provision --tags docker_engine"
)
def engine_down(state: State) -> Finding | None:
    found = state.get("containers", {})
    if not found.get("installed"):
        return None
    return well(f"engine {found['engine']}") if found["engine"] else sick(found["complaint"] or "no answer")


@check(
    "gpus-lost-on-reload",
    "containers lose their GPUs when systemd reloads",
    "inv provision --tags nvidia_container_toolkit (links in /dev/char, and CDI)",
    "nvidia-container-toolkit #48 #251 #1227",
)
def gpus_lost_on_reload(state: State) -> Finding | None:
    found = state.get("containers", {})
    if not gpus(state) or found.get("cgroup_driver") != "systemd" or not found.get("toolkit"):
        return None
    links = found["device_links"]
    return well(f"{links} device links") if links else sick("cgroups by systemd, and no links to the GPUs in /dev/char")


@check(
    "stale-cdi",
    "the CDI list names another driver than the one loaded: containers do not start",
    "systemctl start gpu-lab-nvidia-refresh, or nvidia-ctk cdi generate",
    "nvidia-container-toolkit #856",
)
def stale_cdi(state: State) -> Finding | None:
    lists, loaded = state.get("containers", {}).get("cdi", []), state.get("gpus", {}).get("driver_loaded", "")
    if not lists or not loaded:
        return None
    stale = [
        f"{c['path']} is of driver {c['driver']}, loaded is {loaded}" for c in lists if c["driver"] not in ("", loaded)
    ]
    return verdict(stale, ", ".join(c["path"] for c in lists))


@check(
    "cdi-before-driver",
    "the CDI list was made before the driver was ready: it is missing or names no GPU",
    "systemctl start gpu-lab-nvidia-refresh, or nvidia-ctk cdi generate",
    "nvidia-container-toolkit #856",
)
def cdi_before_driver(state: State) -> Finding | None:
    found = state.get("containers", {})
    if not state.get("gpus", {}).get("driver_loaded") or not found.get("toolkit"):
        return None
    devices = max((c["devices"] for c in found["cdi"]), default=0)
    if not found["cdi"]:
        return sick("no list in /etc/cdi or /var/run/cdi")
    return well(f"{devices} devices") if devices else sick(f"{found['cdi'][0]['path']} names no GPU")


@check(
    "shm",
    "shared memory is too small: data loaders and NCCL die with bus errors",
    "base_shm_size in the inventory; for a container --shm-size or --ipc=host",
    "",
)
def shm(state: State) -> Finding | None:
    found = state.get("memory", {})
    if not found.get("gib"):
        return None
    least = min(LEAST_SHM_GIB, found["gib"] / 4)
    size = found["shm_gib"]
    return well(f"{size} GiB") if size >= least else sick(f"{size} GiB of {found['gib']} GiB memory")


@check(
    "ibverbs",
    "RDMA without its user libraries: NCCL falls back to sockets",
    "apt-get install -y ibverbs-providers",
    "dstack #2712",
)
def ibverbs(state: State) -> Finding | None:
    network = state.get("network", {})
    if not network.get("rdma"):
        return None
    count = network["rdma_providers"]
    return well(f"{count} providers") if count else sick(f"{', '.join(network['rdma'])}, and no provider library")


@check(
    "xid",
    "the GPU reported errors (Xid) since boot",
    "79, 94, 95, 119: drain the host and reset or replace the GPU; 13, 31, 43, 45: see the job first",
)
def xid(state: State) -> Finding | None:
    if not gpus(state) or "xid" not in state.get("faults", {}):
        return None
    seen = state["faults"]["xid"]
    return sick(f"Xid {', '.join(seen)}") if seen else well("none in the kernel's log")
