"""Stand-ins for images that cannot be pulled here: shell scripts that make them on a host, of its own programs."""

import json

NAME = "testbed/figures"
EXPORTER = "testbed/exporter"


def image(gpus: int, h2d: float, all_reduce: float) -> str:
    """A stack's image: its torchrun prints figures instead of measuring them."""
    figures = json.dumps({"gpus": gpus, "h2d_gbs": h2d, "all_reduce_gbs": all_reduce})
    content = f"""
printf '#!/bin/sh\\\\ntest -s "$2" && cat /figures\\\\n' > bin/torchrun; chmod 755 bin/torchrun
echo '{figures}' > figures
"""
    return imported(NAME, "sh cat", content)


def exporter() -> str:
    """An image that answers like the GPUs' exporter and, where Grafana's settings are given, on Grafana's port."""
    content = """
mkdir -p usr/lib www; cp -r /usr/lib/python3.* usr/lib
echo 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} 31' > www/metrics
"""
    command = json.dumps(["sh", "-c", "exec python3 -m http.server ${GF_SERVER_HTTP_PORT:-9400} --directory /www"])
    return imported(EXPORTER, "sh python3", content, f"CMD {command}")


def imported(name: str, programs: str, content: str, change: str = "ENV LC_ALL=C.UTF-8") -> str:
    return f"""
root=/root/image; rm -rf $root; mkdir -p $root/tmp $root/bin; cd $root
for program in {programs}; do cp -L $(command -v $program) bin; done
ldd bin/* | grep -o '/lib[^ ]*' | sort -u | xargs cp -L --parents -t $root
{content}
tar --create --directory $root . | docker import --change '{change}' - {name} >/dev/null
"""
