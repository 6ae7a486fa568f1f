"""Nodes that need each other, as a training does, but start in a second: the first meets each of the others."""

import argparse
import os
import socket
import sys
import time
from pathlib import Path

ask = argparse.ArgumentParser()
ask.add_argument("--beats", type=int)
ask.add_argument("met")
asked = ask.parse_args()
rank, master = int(os.environ["NODE_RANK"]), (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))


def meet():
    if rank == 0:
        server = socket.create_server(master)
        return [server.accept()[0] for _ in range(int(os.environ["NNODES"]) - 1)]
    while True:
        try:
            return [socket.create_connection(master, 5)]
        except OSError:  # noqa: PERF203 (it is not there yet)
            time.sleep(0.1)


peers = meet()
print("met at", master[0], flush=True)
for beat in range(asked.beats):
    for peer in peers:
        peer.settimeout(30)
        peer.sendall(b".")
        if not peer.recv(1):
            sys.exit("another node is gone")
    print("beat", beat, flush=True)
    time.sleep(0.1)
if rank == 0:
    Path(asked.met).write_text("together")
