"""Whether nodes can meet and see the same files, each node's side of it, as one JSON object. Sent over ssh:

`python3 - listen|knock|look ADDRESS PORT COUNT SECONDS FILE`. The master listens where the rendezvous will, the others
knock: a taken port and a closed way both show.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from pathlib import Path


def listen(address: str, port: int, count: int, seconds: float) -> str:
    """Let so many others in; why the port can't be had, else nothing."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError as error:
            return str(error)
        s.listen(count)
        s.settimeout(seconds)
        with contextlib.suppress(OSError):  # who does not come says why
            for _ in range(count):
                s.accept()[0].close()
    return ""


def knock(address: str, port: int, seconds: float) -> str:
    """Try to reach the master; why it can't be reached, else nothing."""
    end = time.monotonic() + seconds
    while (closed := reach(address, port)) and time.monotonic() < end:
        time.sleep(0.02)  # the master is about to listen
    return closed


def reach(address: str, port: int) -> str:
    """One try."""
    try:
        socket.create_connection((address, port), timeout=3).close()
    except OSError as error:
        return str(error)
    return ""


def main(role: str, address: str, port: str, count: str, seconds: str, file: str) -> None:
    """Print what a node found: `trouble` with the meeting, and whether it `sees` the file."""
    trouble = ""
    if role == "listen":
        trouble = listen(address, int(port), int(count), float(seconds))
    elif role == "knock":
        trouble = knock(address, int(port), float(seconds))
    print(json.dumps({"trouble": trouble, "sees": Path(file).is_file()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
