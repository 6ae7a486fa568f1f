"""A stand-in for a model hub on this machine, up while one command runs: what is pushed to it lies in a folder.

python hub.py FOLDER COMMAND WORDS...      COMMAND's exit is this program's

It speaks what huggingface_hub asks for to create a repository, commit files to it and read them again, and nothing
else; a request without a token is refused, as on the real hub.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

TOKEN = "stand-in"  # noqa: S105 (this hub takes no other)
COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """One request."""

    folder = Path()
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Create a repository; say how files are sent; take a commit."""
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid user token."}, 401)
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[:3] == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            return self._json({"url": f"http://{self.headers['Host']}/{name}", "id": "1"})
        if "preupload" in parts:
            files = [f["path"] for f in json.loads(body)["files"]]
            return self._json({"files": [{"path": f, "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        if "commit" in parts:
            repo = self.folder / "/".join(parts[2 : parts.index("commit")])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    path = repo / line["value"]["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(base64.b64decode(line["value"]["content"]))
            url = f"http://{self.headers['Host']}/{'/'.join(parts[2 : parts.index('commit')])}/commit/{COMMIT}"
            return self._json({"commitUrl": url, "commitOid": COMMIT, "hookOutput": ""})
        return self._json({}, 200 if "validate-yaml" in parts else 404)

    def do_GET(self) -> None:
        """A repository's files, or one of them."""
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "whoami-v2"]:
            return self._json({"name": "lab", "type": "user", "orgs": []})
        if parts[:2] == ["api", "models"]:
            repo = self.folder / "/".join(parts[2:4])
            if not repo.is_dir():
                return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            files = [str(f.relative_to(repo)) for f in sorted(repo.rglob("*")) if f.is_file()]
            tree = [{"type": "file", "path": f, "size": (repo / f).stat().st_size, "oid": COMMIT} for f in files]
            if "tree" in parts:
                return self._json(tree)
            name = "/".join(parts[2:4])
            return self._json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]})
        if "resolve" in parts:
            at = parts.index("resolve")
            file = self.folder / "/".join([*parts[:at], *parts[at + 2 :]])
            if file.is_file():
                return self._send(file.read_bytes(), 200, {"X-Repo-Commit": COMMIT})
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        return self._json({}, 404)

    do_HEAD = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, data: object, status: int = 200, more: dict[str, str] | None = None) -> None:
        self._send(json.dumps(data).encode(), status, {"Content-Type": "application/json", **(more or {})})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        etag = hashlib.sha256(body).hexdigest()
        for name, value in {**headers, "Content-Length": str(len(body)), "ETag": f'"{etag}"'}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main(folder: str, *command: str) -> int:
    """Serve while the command runs."""
    Hub.folder = Path(folder)
    Hub.folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    told = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    told |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    told |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, env={**os.environ, **told}, check=False)
    print(f"the hub holds {sorted(str(f.relative_to(folder)) for f in Hub.folder.rglob('*') if f.is_file())}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
