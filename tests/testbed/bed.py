"""A testbed: a few hosts with systemd and sshd, their keys, and an inventory that reaches them."""

import json
import os
import re
import shutil
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.testbed import engine, images
from tests.testbed.engine import docker
from tests.testbed.paths import CACHE, exclusive
from tests.testbed.standin import pci
from tests.testbed.variables import CONTAINED
from tests.wait import wait_until

# `--privileged` wants a capability that a virtual machine may not have.
RUN = (
    "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE",
    "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined",
    "--security-opt", "apparmor=unconfined",
    "--device-cgroup-rule", "a *:* rwm", "--cgroupns=private",
    "--tmpfs", "/run", "--tmpfs", "/run/lock", "--stop-signal", "SIGRTMIN+3",
    "--restart", "always", "-v", "/var/lib/docker",
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    name: str
    suite: str
    gpus: int = 2
    packages: tuple[str, ...] = ()
    """Packages that are there before the first role runs: for tests whose subject comes later."""
    variables: str = ""
    """Of its line in the inventory."""
    shares: bool = False
    """Whether /srv/gpulab is one folder for all hosts of the bed that do."""
    group: str = "gpu"


@dataclass
class Testbed:
    """Use `Testbed.up`; a testbed of the same name that is already there is replaced."""

    __test__ = False  # not a test class, whatever its name says

    name: str
    nodes: list[Node]
    addresses: dict[str, str] = field(default_factory=dict)
    subnet: str = ""
    """Its network's first three numbers."""

    @classmethod
    def up(
        cls, nodes: Iterable[Node | tuple[str, str]], name: str = "dev", say: Callable[[str], object] = lambda _: None
    ) -> "Testbed":
        """Make the hosts and wait until they let in; what is waited for is said."""
        wanted = [node if isinstance(node, Node) else Node(*node) for node in nodes]
        bed = cls(name, wanted)
        bed.directory.mkdir(parents=True, exist_ok=True)
        say("an engine of its own")
        engine.start()
        with exclusive("networks"):
            ensure_network("testbed-build", f"10.87.{200 + zlib.crc32(str(CACHE).encode()) % 50}.0/24")
        suites = {node.suite for node in wanted}
        say(f"the file systems of {', '.join(sorted(suites))} (the first time some minutes)")
        images.base_images(suites)
        tags = [images.image_with(n.suite, *n.packages) if n.packages else images.base_image(n.suite) for n in wanted]
        bed.down()
        with exclusive("networks"):
            bed.subnet = free_subnet(zlib.crc32(f"{CACHE}{name}".encode()) % 200)
            ensure_network(bed.prefix, f"{bed.subnet}.0/24")
        for number, (node, tag) in enumerate(zip(wanted, tags, strict=True), start=11):
            bed._start(node, tag, f"{bed.subnet}.{number}")
        bed._authorize()
        say(f"{len(wanted)} hosts, which boot")
        bed.wait()
        bed.learn_host_keys()
        return bed

    @property
    def prefix(self) -> str:
        return f"testbed-{self.name}"

    @property
    def gateway(self) -> str:
        """The machine, as the hosts see it: stand-in repositories listen here."""
        return f"{self.subnet}.1"

    @property
    def directory(self) -> Path:
        return CACHE / "beds" / self.name

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def container(self, node: str) -> str:
        return f"{self.prefix}-{node}"

    def sh(self, node: str, script: str, check: bool = True) -> str:
        """Run a script as root on a host, past ssh: for planting faults and looking at the outcome."""
        return docker("exec", "-i", self.container(node), "sh", "-e", input=script, check=check).stdout

    @contextmanager
    def planted(self, fault: str, undo: str, *nodes: str) -> Iterator[None]:
        """A fault on hosts, by a script as root, for as long as it is needed; another takes it away."""
        try:
            for node in nodes:
                self.sh(node, fault)
            yield
        finally:
            for node in nodes:
                self.sh(node, undo)

    def cut(self, node: str, other: str) -> AbstractContextManager[None]:
        """No packet passes between two hosts; the way from here to each stays open."""
        rules = "iptables -{0} INPUT -s {1} -j DROP; iptables -{0} OUTPUT -d {1} -j DROP"
        return self.planted(*(rules.format(how, self.addresses[other]) for how in "ID"), node)

    def down(self) -> None:
        """Remove this testbed's hosts and network; the engine goes with the last testbed."""
        if not engine.is_up():
            return
        mine = docker("ps", "-aq", "--filter", f"label=testbed={self.name}").stdout.split()
        if mine:
            docker("rm", "-fv", *mine)
        docker("network", "rm", self.prefix, check=False)
        docker("volume", "rm", "--force", self.prefix)

    def end(self) -> None:
        """After the tests: the hosts go, unless somebody wants a look. On a machine that is thrown away they are only
        stopped: to remove their disks takes minutes, in which other tests wait for the machine's."""
        if os.environ.get("GPULAB_TESTBED_KEEP"):
            return
        if os.environ.get("CI"):
            docker("kill", *docker("ps", "-q", "--filter", f"label=testbed={self.name}").stdout.split(), check=False)
        else:
            self.down()

    def wait(self) -> None:
        for node in self.nodes:
            wait_until(partial(self._answers, node.name), f"{node.name}: sshd", timeout=90)

    def learn_host_keys(self) -> None:
        """The hosts' real keys, read past ssh: what a careful admin would copy from the console."""
        lines = []
        for node in self.nodes:
            kind, key = self.sh(node.name, "cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
            lines.append(f"{self.addresses[node.name]} {kind} {key}\n")
        self.known_hosts.write_text("".join(lines))

    def inventory(
        self, path: Path | None = None, variables: Mapping[str, object] | None = None, user: str = "lab"
    ) -> Path:
        """Write an INI inventory of these hosts, its variables beside it, and return its path."""
        path = path or self.directory / "gpus.ini"
        groups = {node.group: "" for node in self.nodes}
        for n in self.nodes:
            groups[n.group] += f"{n.name} ansible_host={self.addresses[n.name]} {n.variables}\n"
        hosts = "\n".join(f"[{group}]\n{inside}" for group, inside in groups.items())
        every = {
            "ansible_user": user,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": self.key,
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.known_hosts} -o ConnectTimeout=5",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}={value}\n" for name, value in every.items())
        path.write_text(f"{hosts}\n[all:vars]\n{lines}")
        beside = path.parent / "group_vars" / "all.yml"
        beside.parent.mkdir(exist_ok=True)
        # JSON is YAML.
        beside.write_text(json.dumps({**CONTAINED, **(variables or {})}, indent=2))
        return path

    def _start(self, node: Node, tag: str, address: str) -> None:
        devices = [f"/dev/nvidia{i}" for i in range(node.gpus)]
        if node.gpus:
            devices += ["/dev/nvidiactl", "/dev/nvidia-uvm"]
        shared = ["-v", f"{self.prefix}:/srv/gpulab"] if node.shares else []
        docker(
            "run", "-d", *RUN, *shared, *(f"--device=/dev/null:{device}" for device in devices),
            "--label", f"testbed={self.name}", "--name", self.container(node.name), "--hostname", node.name,
            "--network", self.prefix, "--ip", address, tag, "/labinit",
        )  # fmt: skip
        self.addresses[node.name] = address
        self.sh(node.name, pci.view(node.gpus))

    def _authorize(self) -> None:
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        public = self.key.with_suffix(".pub").read_text().strip()
        for node in self.nodes:
            self.sh(
                node.name,
                f"for user in lab asks; do cd /home/$user; install -d -m 700 -o $user -g $user .ssh\n"
                f"echo '{public}' > .ssh/authorized_keys; chown $user: .ssh/authorized_keys; done",
            )

    def _answers(self, node: str) -> bool:
        try:
            with socket.create_connection((self.addresses[node], 22), timeout=1) as connection:
                if connection.recv(4) != b"SSH-":
                    return False
        except OSError:
            return False
        # A host that is still booting refuses logins (pam_nologin) though sshd answers.
        state = docker("exec", self.container(node), "systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")


def free_subnet(first: int) -> str:
    """The first 10.87.N from `first` on that no other network has: of this engine's, or of another checkout's."""
    found = json.loads(docker("network", "inspect", *docker("network", "ls", "-q").stdout.split(), check=False).stdout)
    taken = {pool["Subnet"] for network in found for pool in network["IPAM"]["Config"] or ()}
    routes = subprocess.run(["ip", "-json", "route"], capture_output=True, text=True, check=True).stdout
    taken |= {route["dst"] for route in json.loads(routes or "[]") if "linkdown" not in route["flags"]}
    numbers = ((first + further) % 200 for further in range(200))
    return next(f"10.87.{number}" for number in numbers if f"10.87.{number}.0/24" not in taken)


def ensure_network(name: str, subnet: str) -> None:
    if docker("network", "inspect", name, check=False).returncode != 0:
        remove_what_died(subnet)
        docker("network", "create", "--subnet", subnet, name)


def remove_what_died(subnet: str) -> None:
    """An engine that was killed leaves its bridge, whose route to `subnet` swallows the answers to the new one, and a
    rule that hides the new one's hosts from each other behind the gateway."""
    found = subprocess.run(["ip", "-json", "route", "show", subnet], capture_output=True, text=True, check=True).stdout
    for route in json.loads(found or "[]"):
        if route["dev"].startswith("br-") and "linkdown" in route["flags"]:
            subprocess.run(["ip", "link", "delete", route["dev"]], check=True)
    listed = subprocess.run(["iptables", "-t", "nat", "-S"], capture_output=True, text=True, check=True).stdout
    for rule in rules_of(subnet, listed):
        subprocess.run(["iptables", "-t", "nat", "-D", *rule], check=True)


def rules_of(subnet: str, listed: str) -> list[list[str]]:
    """Of `iptables -S` those that let a bridge's network out under the machine's address."""
    found = re.findall(rf"^-A (POSTROUTING -s {re.escape(subnet)} ! -o br-\w+ -j MASQUERADE)$", listed, re.MULTILINE)
    return [rule.split() for rule in found]


def forget(name: str) -> None:
    shutil.rmtree(CACHE / "beds" / name, ignore_errors=True)
