"""Real signing keys, made by gpg in a home of their own."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from pathlib import Path


def make_key(name: str) -> tuple[str, bytes]:
    """(fingerprint, armored key) of a new key whose owner calls himself `name`."""
    with tempfile.TemporaryDirectory() as home:  # short: the agent's socket is in it
        gpg = ["gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        subprocess.run([*gpg, "--quick-generate-key", name, "ed25519", "sign"], check=True, capture_output=True)
        key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
    file = Path(tempfile.mkstemp()[1])
    file.write_bytes(key)
    (fingerprint,) = whole_keys(file)
    file.unlink()
    return fingerprint, key


def whole_keys(file: Path) -> list[str]:
    """The fingerprints of the keys in a file, in order."""
    argv = ["gpg", "--batch", "--show-keys", "--with-colons", str(file)]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return [after.split(":")[9] for line, after in itertools.pairwise(lines) if line.startswith("pub:")]
