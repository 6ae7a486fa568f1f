"""A signed apt repository of stand-in packages, and a server of it that can misbehave on demand."""

import http.server
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.standin.packages import Package


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: str | None = None
        """How the server misbehaves: `404`, `500`, `slow`, or not at all."""

    @classmethod
    def make(cls, folder: Path, packages: list[Package]) -> "Repository":
        shutil.rmtree(folder, ignore_errors=True)
        debs = folder / "debs"
        debs.mkdir(parents=True)
        for package in packages:
            package.build(debs)
        repository = cls(folder)
        repository._index()
        return repository

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

            def do_GET(self) -> None:
                if repository.fault in ("404", "500"):
                    self.send_error(int(repository.fault))
                    return
                # One folder under any first name: apt takes no two keys for one address.
                self.path = "/" + self.path.lstrip("/").partition("/")[2]
                if repository.fault == "slow":
                    time.sleep(2)
                super().do_GET()

            def log_message(self, *_: object) -> None:
                """Quiet: the hosts' own logs say what they fetched."""

        return Handler

    def _index(self) -> None:
        home = self.folder / "gnupg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        self._run([*gpg, "--quick-generate-key", "testbed stand-in <testbed@localhost>", "ed25519", "sign", "never"])
        listing = self._run([*gpg, "--with-colons", "--list-keys"])
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        (self.folder / "fingerprint").write_text(fingerprint + "\n")
        (self.folder / "key.asc").write_text(self._run([*gpg, "--armor", "--export"]))
        (self.folder / "Packages").write_text(self._run(["dpkg-scanpackages", "--multiversion", "debs"]))
        (self.folder / "Release").write_text(self._run(["apt-ftparchive", "release", "."]))
        self._run([*gpg, "--clearsign", "--output", "InRelease", "Release"])

    def _run(self, argv: list[str]) -> str:
        return subprocess.run(argv, cwd=self.folder, check=True, capture_output=True, text=True).stdout
