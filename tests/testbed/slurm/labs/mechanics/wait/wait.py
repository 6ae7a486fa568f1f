"""As a collective does: the nodes meet, and one waits for the other's word, which never comes."""

import os
import socket
import time

master = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if os.environ["NODE_RANK"] == "0":
    met = socket.create_server(master).accept()[0]
else:
    while True:
        try:
            met = socket.create_connection(master)
            break
        except OSError:
            time.sleep(0.1)
print("met", flush=True)
met.recv(1)
