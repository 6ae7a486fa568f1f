"""A signed apt repository of stand-in packages, and a server of it that can misbehave on demand."""

import http.server
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.testbed.paths import CACHE, REPO, exclusive
from tests.testbed.standin.packages import Package, docker_ce, driver, engine, toolkit

OLDER_DRIVER, OLDER_TOOLKIT = "550.163.01", "1.17.8"


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: str | None = None
        """How the server misbehaves: `404`, `500`, `slow`, or not at all."""

    @classmethod
    def make(cls, folder: Path, packages: list[Package], ready: Iterable[Path] = ()) -> "Repository":
        shutil.rmtree(folder, ignore_errors=True)
        debs = folder / "debs"
        debs.mkdir(parents=True)
        for package in packages:
            package.build(debs)
        for deb in ready:
            (debs / deb.name).symlink_to(deb)
        repository = cls(folder)
        repository._index()
        return repository

    @classmethod
    def standard(cls, folder: Path) -> "Repository":
        """The versions of docker/stacks.yml, and an older one of each to meet first."""
        node = yaml.safe_load((REPO / "docker" / "stacks.yml").read_text())["node"]
        packages = driver(node["driver"]) + driver(OLDER_DRIVER)
        packages += toolkit(node["nvidia_container_toolkit"]) + toolkit(OLDER_TOOLKIT) + engine(node["docker"])
        with exclusive("docker-ce"):
            docker_engine = docker_ce(node["docker"]["engine"], CACHE)
        return cls.make(folder, packages, [docker_engine])

    @property
    def fingerprint(self) -> str:
        return (self.folder / "fingerprint").read_text().strip()

    @contextmanager
    def serve(self, address: str, port: int = 0) -> Iterator[str]:
        """Serve until the end of the block; gives the URL."""
        server = http.server.ThreadingHTTPServer((address, port), self._handler())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()

    def _handler(self) -> type[http.server.SimpleHTTPRequestHandler]:
        repository = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, directory=str(repository.folder), **kwargs)  # type: ignore[arg-type]

            def translate_path(self, path: str) -> str:
                """One folder under any first name: apt takes no two keys for one address."""
                return super().translate_path("/" + path.lstrip("/").partition("/")[2])

            def do_GET(self) -> None:
                if repository.fault in ("404", "500"):
                    self.send_error(int(repository.fault))
                    return
                if repository.fault == "slow":
                    time.sleep(2)
                super().do_GET()

            def log_message(self, *_: object) -> None:
                """Quiet: the hosts' own logs say what they fetched."""

        return Handler

    def _index(self) -> None:
        with TemporaryDirectory() as home:  # short: the agent's socket is in it
            self._sign(Path(home))

    def _sign(self, home: Path) -> None:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        self._run([*gpg, "--quick-generate-key", "testbed stand-in <testbed@localhost>", "ed25519", "sign", "never"])
        listing = self._run([*gpg, "--with-colons", "--list-keys"])
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        (self.folder / "fingerprint").write_text(fingerprint + "\n")
        (self.folder / "key.asc").write_text(self._run([*gpg, "--armor", "--export"]))
        (self.folder / "Packages").write_text(self._run(["dpkg-scanpackages", "--multiversion", "debs"]))
        (self.folder / "Release").write_text(self._run(["apt-ftparchive", "release", "."]))
        self._run([*gpg, "--clearsign", "--output", "InRelease", "Release"])
        self._run(["gpgconf", "--homedir", str(home), "--kill", "all"])

    def _run(self, argv: list[str]) -> str:
        return subprocess.run(argv, cwd=self.folder, check=True, capture_output=True, text=True).stdout
