"""nginx in front of several servers of one model: its configuration, made of their addresses."""

from __future__ import annotations

from collections.abc import Sequence

FILE = "/etc/nginx/gpulab.conf"
COMMAND = ("nginx", "-e", "stderr", "-c", FILE, "-g", "daemon off;")
REST = 5  # seconds without a request for a server that could not be reached
TRIES = 3  # servers that are given one request: one that kills its server shall not kill all
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def configuration(listen: str, servers: Sequence[str], most_mib: int = 256) -> str:
    """nginx.conf: each request goes to the server with the fewest open ones.

    A request whose server is gone before it said anything goes to another: it changes nothing, and may be asked again.
    (While a container starts, its port takes connections and drops them.) Streams are handed on as they come.
    """
    folders = "\n".join(f"  {name}_temp_path /tmp/nginx-{name};" for name in TEMPORARY)
    members = "\n".join(f"    server {server} max_fails=1 fail_timeout={REST}s;" for server in servers)
    return f"""\
worker_processes auto;
pid /tmp/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
{folders}
  client_max_body_size {most_mib}m;
  upstream servers {{
    zone servers 256k;  # what its processes know in common: who is busy, who is gone
    least_conn;
{members}
    keepalive 64;
  }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_connect_timeout 3s;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
      proxy_buffering off;
      proxy_next_upstream error timeout non_idempotent;
      proxy_next_upstream_tries {TRIES};
    }}
  }}
}}
"""
