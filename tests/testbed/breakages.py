"""One way to break each promise: what is done to which host, which checks must notice, which tasks must say so."""

from dataclasses import dataclass

from tests.testbed.standin.image import image
from tests.testbed.standin.repository import OLDER_DRIVER

OLDER = "apt-get update -q; apt-get install -qy --allow-downgrades --allow-change-held-packages"
HALF = """
mkdir -p /root/half/DEBIAN
printf 'Package: testbed-half\\nVersion: 1\\nArchitecture: all\\nMaintainer: t <t@localhost>\\nDescription: half\\n' \
    > /root/half/DEBIAN/control
dpkg-deb --build /root/half /root/half.deb; dpkg --unpack /root/half.deb
"""


@dataclass(frozen=True)
class Breakage:
    host: str
    script: str
    noticed_by: tuple[str, ...]
    """Checks, without the host where it is the broken one."""
    reported_by: tuple[str, ...] = ()
    """Tasks that --check reports as a change. None: provisioning does not repair it, `undo` does."""
    undo: str = ""

    @property
    def failing(self) -> set[str]:
        """The checks that fail, each with its host."""
        return {check if "@" in check else f"{check}@{self.host}" for check in self.noticed_by}


REPAIRED = [
    Breakage("gpu1", "dpkg --remove --force-depends rsync", ("base.packages",),
             ("packages : Ensure the packages have their versions for the base",)),
    # Masked while it runs: well until the next boot.
    Breakage("gpu1", "systemctl mask chrony", ("base.time",),
             ("base : Ensure the clock is kept, now and after a boot",)),
    Breakage("gpu2", "systemctl mask --now chrony", ("base.time",),
             ("base : Ensure the clock is kept, now and after a boot",)),
    Breakage("gpu1", "rm /etc/security/limits.d/60-gpu-lab.conf /etc/systemd/system.conf.d/60-gpu-lab.conf; "
             "systemctl daemon-reexec",
             ("base.limits", "base.service-limits"), ("base : Ensure users and services have the limits",)),
    Breakage("gpu2", "sysctl -w net.ipv4.ip_local_reserved_ports=", ("base.kernel-settings",),
             ("base : Ensure the kernel's settings are written down and in force",)),
    Breakage("gpu2", "usermod -u 2999 gpulab", ("base.user",), ("base : Ensure the lab's user is there",)),
    Breakage("cpu1", HALF, ("base.dpkg",),
             tuple(f"packages : Find what is missing for {what}"
                   for what in ("the base", "the Docker engine", "the registry", "metrics", "the collector"))),
    Breakage("gpu1", "apt-mark unhold nvidia-open; systemctl stop nvidia-persistenced",
             ("nvidia_driver.held", "nvidia_driver.persistence"),
             ("packages : Ensure the packages are held at their version for the NVIDIA driver",
              "nvidia_driver : Ensure the GPUs stay initialised while nobody uses them")),
    Breakage("gpu1", "dpkg --remove --force-depends perftest", ("fabric.rdma-packages",),
             ("packages : Ensure the packages have their versions for RDMA",)),
    Breakage("gpu1", "echo NCCL_SOCKET_IFNAME=lo > /etc/nccl.conf",
             ("fabric.interface", "fabric.used", "across.mtu@all", "across.reachability@all"),
             ("fabric : Ensure NCCL knows its interface",)),
    Breakage("cpu1", "systemctl mask docker", ("docker_engine.runs",),
             ("docker_engine : Ensure the engine runs, now and after a boot",)),
    Breakage("gpu1", "apt-mark unhold docker-ce", ("docker_engine.version",),
             ("packages : Ensure the packages are held at their version for the Docker engine",)),
    Breakage("gpu2", 'echo \'{"data-root": "/srv/docker"}\' > /etc/docker/daemon.json; systemctl restart docker',
             ("docker_engine.live-restore", "docker_engine.cgroups", "docker_engine.logs", "docker_engine.storage",
              "docker_engine.gpu"),
             ("docker_engine : Ensure the engine has its settings",)),
    Breakage("gpu1", "gpasswd -d gpulab docker", ("docker_engine.users",),
             ("docker_engine : Ensure the lab's users may use the engine",)),
    Breakage("gpu2", f"{OLDER} nvidia-container-toolkit=1.17.8-1 nvidia-container-toolkit-base=1.17.8-1 "
             "libnvidia-container-tools=1.17.8-1 libnvidia-container1=1.17.8-1",
             ("nvidia_container_toolkit.version", "nvidia_container_toolkit.held"),
             ("packages : Ensure the packages have their versions for the NVIDIA container toolkit",)),
    Breakage("gpu1", "apt-mark unhold nvidia-container-toolkit; systemctl stop gpu-lab-nvidia-refresh.path",
             ("nvidia_container_toolkit.held", "nvidia_container_toolkit.refresh"),
             ("packages : Ensure the packages are held at their version for the NVIDIA container toolkit",
              "nvidia_container_toolkit : Ensure the refresh happens at every boot and after every change")),
    Breakage("gpu1", "sed -i s/580/550/ /var/run/cdi/nvidia.yaml; rm /dev/char/*",
             ("nvidia_container_toolkit.cdi", "nvidia_container_toolkit.device-links"),
             ("nvidia_container_toolkit : Find whether the CDI list is for the running driver",)),
    Breakage("gpu2", "chown root:root /srv/gpulab/models; chmod 700 /srv/gpulab/models",
             ("lab_storage.folders", "lab_storage.group"), ("lab_storage : Ensure the folders are there",)),
    Breakage("gpu1", "rm /etc/gpu-lab.env", ("lab_storage.environment",),
             ("lab_storage : Ensure programs and logins are told where the caches are",)),
    Breakage("cpu1", "systemctl stop prometheus-node-exporter", ("monitoring.host",),
             ("monitoring : Ensure the host's exporter runs, now and after a boot",)),
    Breakage("cpu1", "systemctl stop docker-registry",
             ("registry.answers@gpu1", "registry.answers@gpu2", "registry.answers", "registry.runs"),
             ("registry : Ensure the registry runs, now and after a boot",)),
    Breakage("cpu1", "systemctl stop prometheus", ("monitoring.collected",),
             ("monitoring : Ensure the collector runs, now and after a boot",)),
]  # fmt: skip

HEALTHY, SLOW = image(gpus=8, h2d=53, all_reduce=470), image(gpus=7, h2d=12, all_reduce=90)
SICK = {
    "ecc.errors.uncorrected.volatile.total": "3", "retired_pages.pending": "Yes", "remapped_rows.failure": "Yes",
    "pcie.link.width.current": "8", "clocks_event_reasons.hw_slowdown": "Active", "lost": "1",
    "down": "1", "pair": "SYS",
}  # fmt: skip
# The kernel's log is the machine's; a journal of this host's own says the same to whoever reads it.
XID = """
apt-get install -qy --no-install-recommends systemd-journal-remote
journal=/run/log/journal/$(cat /etc/machine-id); mkdir -p $journal
printf '__REALTIME_TIMESTAMP=%s000000\\n_BOOT_ID=%s\\n_TRANSPORT=kernel\\nMESSAGE=%s\\n\\n' $(date +%s) \\
    $(tr -d - < /proc/sys/kernel/random/boot_id) 'NVRM: Xid (PCI:0000:10:00): 79, GPU has fallen off the bus.' \\
    | /usr/lib/systemd/systemd-journal-remote --output=$journal/planted.journal -
"""
OTHERWISE = [
    Breakage("gpu2", "(" + "; ".join(f"echo '{k}={v}'" for k, v in SICK.items()) + ") > /run/nvidia-standin/planted",
             ("gpu_health.count", "gpu_health.ecc", "gpu_health.memory-repair", "gpu_health.memory-worn",
              "gpu_health.pcie", "gpu_health.clocks", "gpu_health.nvlink", "gpu_health.topology",
              "across.topology@all"),
             undo="rm /run/nvidia-standin/planted"),
    Breakage("gpu2", "mv /opt/testbed/pci/0000:17:00.0 /root", ("gpu_health.expected", "across.gpus@all"),
             undo="mv /root/0000:17:00.0 /opt/testbed/pci"),
    Breakage("gpu2", XID, ("gpu_health.xid",), undo="rm /run/log/journal/*/planted.journal"),
    Breakage("gpu1", "sed -i 's/exit 0/exit 1/' /usr/bin/dcgmi", ("gpu_health.dcgm",),
             undo="sed -i 's/exit 1/exit 0/' /usr/bin/dcgmi"),
    Breakage("gpu1", SLOW, ("gpu_bandwidth.container", "gpu_bandwidth.h2d", "gpu_bandwidth.all-reduce"), undo=HEALTHY),
    Breakage("gpu1", "echo '1: DOWN' > /opt/testbed/rdma/mlx5_0/ports/1/state", ("fabric.rdma",),
             undo="echo '4: ACTIVE' > /opt/testbed/rdma/mlx5_0/ports/1/state"),
    Breakage("cpu1", "mount -t tmpfs -o size=4M tmpfs /srv/gpulab",
             ("lab_storage.folders", "lab_storage.group", "lab_storage.space"), undo="umount /srv/gpulab"),
    Breakage("cpu1", "fallocate -l 40M /dev/shm/full", ("base.scratch",), undo="rm /dev/shm/full"),
    Breakage("cpu1", "hostname elsewhere", ("base.name-resolution",), undo="hostname cpu1"),
]  # fmt: skip
DRIVER = ("/usr/share/nvidia-standin/version", "/run/nvidia-standin/version")  # installed, running
BETWEEN_HOSTS = [
    Breakage("gpu2", "ip link set eth0 mtu 1400", ("across.mtu",), undo="ip link set eth0 mtu 1500"),
    Breakage("gpu2", "iptables -I INPUT -p tcp --dport 29500 -j REJECT", ("across.reachability",),
             undo="iptables -D INPUT -p tcp --dport 29500 -j REJECT"),
    Breakage("gpu2", "sed -i s/H100/H200/ /usr/bin/nvidia-smi", ("across.gpus",),
             undo="sed -i s/H200/H100/ /usr/bin/nvidia-smi"),
    Breakage("gpu2", f"cp {DRIVER[0]} /root/version; echo {OLDER_DRIVER} | tee {' '.join(DRIVER)}", ("across.driver",),
             undo=f"tee {' '.join(DRIVER)} < /root/version; systemctl restart gpu-lab-nvidia-refresh"),
    # Containers share the machine's clock: here `date` is the stand-in.
    Breakage("gpu2", "printf '#!/bin/sh\\nexec /bin/date --date=\"5 seconds\" \"$@\"\\n' > /usr/local/bin/date; "
             "chmod 755 /usr/local/bin/date", ("across.time",), undo="rm /usr/local/bin/date"),
]  # fmt: skip

SLURM = [
    Breakage("node1", "echo '# mine' >> /etc/slurm/slurm.conf", ("slurm.settings",),
             ("slurm : Ensure all hosts have the same settings",)),
    Breakage("node1", "echo 'exit 0' > /etc/slurm/gpu-lab-epilog; systemctl disable -q slurmd", ("slurm.runs",),
             ("slurm : Ensure the node's health is looked at",
              "slurm : Ensure the daemons run, now and after a boot")),
    # Another key: the controller believes it no more, and soon takes it for lost.
    Breakage("node2", "head -c 128 /dev/urandom > /etc/munge/munge.key; systemctl restart munge slurmd",
             ("slurm.munge", "slurm.node", "slurm.srun@head"),
             ("slurm : Ensure all hosts have the controller's key",)),
]  # fmt: skip


@dataclass(frozen=True)
class Sickness:
    """What makes a node unfit for jobs, in the words of the drain's reason."""

    reason: str
    script: str
    undo: str


XID = "NVRM: Xid (PCI:0000:10:00): 79, pid=4711, GPU has fallen off the bus."
SICK_NODES = [
    Sickness("GPU 1 is gone (no /dev/nvidia1)", "mv /dev/nvidia1 /dev/elsewhere", "mv /dev/elsewhere /dev/nvidia1"),
    Sickness("the Docker engine does not answer", "systemctl stop docker.socket docker", "systemctl start docker"),
    Sickness(" is 100 % full", "mount -t tmpfs -o size=64k tmpfs /tmp; cp /dev/zero /tmp/full || true", "umount /tmp"),
    # Nothing can be written into the kernel's log of one host alone.
    Sickness("the kernel logged Xid 79 since the boot",
             f"cd /usr/local/bin; printf '%s\\n' '#!/bin/sh' 'echo \"{XID}\"' > journalctl; chmod 755 journalctl",
             "rm /usr/local/bin/journalctl"),
]  # fmt: skip
