"""The stand-in packages: their names and versions as in the real repositories, their contents from files/."""

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

FILES = Path(__file__).with_name("files")


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    depends: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """Where a file of files/ goes."""
    text: dict[str, str] = field(default_factory=dict)
    """Files with this text."""

    def build(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            root = Path(work, "root")
            control = f"Package: {self.name}\nVersion: {self.version}\nArchitecture: all\n"
            control += "Maintainer: testbed <testbed@localhost>\n"
            control += f"Depends: {self.depends}\n" if self.depends else ""
            control += "Description: a stand-in for tests, not the real package\n"
            for target, text in {"DEBIAN/control": control, **self.text}.items():
                path = root / target
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            for source, target in self.files.items():
                path = root / target
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((FILES / source).read_bytes())
                path.chmod((FILES / source).stat().st_mode)
            root.chmod(0o755)
            subprocess.run(
                ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(folder)],
                check=True, capture_output=True,
            )  # fmt: skip


def driver(version: str) -> list[Package]:
    smi = "usr/bin/nvidia-smi"
    return [
        Package(
            "nvidia-open", f"{version}-1",
            files={"nvidia-smi": smi, "nvidia-modprobe": "usr/bin/nvidia-modprobe",
                   "nvidia-persistenced.service": "lib/systemd/system/nvidia-persistenced.service"},
            text={"usr/share/nvidia-standin/version": f"{version}\n"},
        )
    ]  # fmt: skip


def toolkit(version: str) -> list[Package]:
    exact = f"{version}-1"
    return [
        Package("libnvidia-container1", exact),
        Package("libnvidia-container-tools", exact, f"libnvidia-container1 (= {exact})"),
        Package("nvidia-container-toolkit-base", exact, files={"nvidia-ctk": "usr/bin/nvidia-ctk"}),
        Package(
            "nvidia-container-toolkit", exact,
            f"nvidia-container-toolkit-base (= {exact}), libnvidia-container-tools (= {exact})",
            files={"nvidia-container-runtime": "usr/bin/nvidia-container-runtime",
                   "nvidia-container-runtime-hook": "usr/bin/nvidia-container-runtime-hook"},
        ),
    ]  # fmt: skip


def engine(versions: dict[str, str]) -> list[Package]:
    """Docker's package names but for docker-ce itself, which `docker_ce` makes."""
    mark = "1~debian"
    return [
        Package("docker-ce-cli", f"5:{versions['engine']}-{mark}"),
        Package("containerd.io", f"{versions['containerd']}-{mark}"),
        Package("docker-buildx-plugin", f"{versions['buildx']}-{mark}"),
        Package("docker-compose-plugin", f"{versions['compose']}-{mark}"),
    ]


def docker_ce(version: str, cache: Path) -> Path:
    """Debian's engine under Docker's name and version: two packages of both names exclude each other."""
    ready = cache / f"docker-ce-{version}.deb"
    if ready.exists():
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        subprocess.run(["apt-get", "download", "docker.io"], cwd=work, check=True, capture_output=True)
        (original,) = Path(work).glob("docker.io_*.deb")
        root = Path(work, "root")
        subprocess.run(["dpkg-deb", "--raw-extract", str(original), str(root)], check=True)
        control = root / "DEBIAN" / "control"
        renamed = {"Package": "docker-ce", "Version": f"5:{version}-1~debian"}
        dropped = ("Conflicts", "Breaks", "Replaces", "Provides", "Recommends", "Suggests", "Source", "Built-Using")
        lines = [line for line in control.read_text().splitlines() if line.split(":")[0] not in dropped]
        lines = [f"{key}: {renamed[key]}" if (key := line.split(":")[0]) in renamed else line for line in lines]
        control.write_text("\n".join(lines) + "\n")
        built = Path(work, ready.name)
        subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--build", str(root), str(built)], check=True, capture_output=True)
        built.rename(ready)
    return ready
