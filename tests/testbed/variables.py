"""The variables that point the roles at the stand-ins, and keep a host in a container off the machine's kernel."""

from collections.abc import Mapping

from tests.testbed.standin.repository import Repository


def stand_ins(url: str, repository: Repository) -> dict[str, object]:
    pointed: dict[str, object] = {}
    for role in ("nvidia_driver", "nvidia_container_toolkit", "docker_engine"):
        pointed |= {
            f"{role}_repository": f"{url}/{role}",
            f"{role}_suite": "./",
            f"{role}_key_url": f"{url}/{role}/key.asc",
            f"{role}_key_fingerprint": repository.fingerprint,
        }
    return pointed | {
        "docker_engine_components": "",
        "validate_pci_path": "/opt/testbed/pci",
        "validate_driver_path": "/run/nvidia-standin/version",
        "validate_rdma_path": "/opt/testbed/rdma",
        "nvidia_driver_build_packages": [],
    }


# A container shares the machine's kernel: only settings of its own network, limits below the machine's, no clocks.
CONTAINED: Mapping[str, object] = {
    "base_kernel_settings": {
        "net.ipv4.ip_local_reserved_ports": "29400-29600",
        "net.ipv4.tcp_keepalive_time": 600,
    },
    "base_limits": {"memlock": 4096, "nofile": 16384},
    "base_time_options": "-F 1 -x",
    "nvidia_driver_batch": 2,
    "validate_disk_gib": 2,
    "validate_names": ["localhost"],
    "slurm_health_disk_percent": 100,  # however full the machine is, its hosts are healthy
    # Their images cannot be pulled here.
    "monitoring_gpu": False,
    "monitoring_grafana": False,
}
