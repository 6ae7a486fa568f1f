"""What is kept of a model that is served: `service.json` in a folder of its own, `logs/server.log` beside it."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from gpulab.common.files import write_atomically
from gpulab.common.paths import runs_dir
from gpulab.records.read import run_name
from gpulab.records.record import Model

FILE = "service.json"
SERVICES = ".services"


class ServiceRecord(Model):
    """One service: what it serves, how, and where it answers. Its processes are found by its folder, its containers by
    a label and their project.

    On hosts: of which inventory, their names, the address of the first, and its folder there, whose owner is `user`.
    """

    name: str
    model: str
    adapters: dict[str, str] = Field(default_factory=dict)
    backend: str
    stack: str
    port: int
    public: bool = False
    key: bool = False
    argv: list[str] = Field(default_factory=list)
    started: str = ""
    engine: str = "local"
    replicas: int = 1
    project: str = ""
    image: str = ""
    user: str = ""
    inventory: str = ""
    hosts: list[str] = Field(default_factory=list)
    address: str = ""
    files: str = ""

    @property
    def folder(self) -> Path:
        """Where its record and log lie."""
        return services_dir() / self.name

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "logs" / "server.log"

    @property
    def url(self) -> str:
        """Its API's address, on this machine where it is not public on a host."""
        return f"http://{(self.public and self.address) or '127.0.0.1'}:{self.port}/v1"

    @property
    def listens(self) -> str:
        """The address on which the machine that it is on takes requests."""
        return "0.0.0.0" if self.public else "127.0.0.1"  # noqa: S104 (public was asked for)

    def write(self) -> None:
        """Write the record, whole."""
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self.folder / FILE, json.dumps(self.model_dump(), indent=1) + "\n", mode=0o600)

    def forget(self) -> None:
        """It is no service any more; its log stays until another takes its name."""
        (self.folder / FILE).unlink(missing_ok=True)


def services_dir() -> Path:
    """Where services are kept: beside the runs."""
    return runs_dir() / SERVICES


def holder(folder: Path) -> str:
    """Whose claim a folder is, of anybody's checkout: a service's, or a run's."""
    return f"service {folder.name}" if folder.parent.name == SERVICES else f"run {run_name(folder)}"


def all_services() -> list[ServiceRecord]:
    """Every service on record by name; one that can't be read hides no other."""
    read = (_read(file) for file in sorted(services_dir().glob(f"*/{FILE}")))
    return [service for service in read if service]


def _read(file: Path) -> ServiceRecord | None:
    try:
        return ServiceRecord.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
