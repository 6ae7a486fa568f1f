"""`inv shell` and `inv notebook` in a container on a host: what is seen there and here, and that nothing is left."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from gpulab.hosts import reservation
from gpulab.images.image import Image
from gpulab.stacks.stack import load_stack
from tests.testbed.conftest import WITHOUT_DRIVER
from tests.testbed.on_nodes import Nodes
from tests.testbed.stack_images import built

HOST = "gpu1"
# It answers as JupyterLab does when it is asked whether it is there.
JUPYTER = (
    "for word; do case $word in --ServerApp.port=*) port=${word#*=} ;; esac; done; "
    "mkdir /tmp/served; cd /tmp/served; echo version > api; exec python -m http.server $port"
)


def on_host(nodes: Nodes) -> list[str]:
    return ["--hosts", str(nodes.inventory), "--limit", HOST]


def left(nodes: Nodes) -> str:
    """What is there of runs: containers, networks, folders."""
    folders = nodes.bed.sh(HOST, "find /srv/gpulab/runs/shell-* -mindepth 1", check=False)
    return nodes.containers() + nodes.bed.sh(HOST, "docker network ls -q --filter label=gpulab.run") + folders


def test_a_command_in_a_container_on_a_host_ends_with_its_own_exit_code(nodes: Nodes, tmp_path: Path) -> None:
    script = "import os, sys; print('in', os.getcwd(), 'of', os.environ['GPULAB_STACK']); sys.exit(7)"
    process = nodes.inv(tmp_path, "shell", "cpu", *on_host(nodes), "--", "python", "-c", script)
    said = process.communicate(timeout=300)[0]
    assert (process.returncode, said) == (7, "in /srv/gpulab of cpu\n")
    assert left(nodes) == ""


def test_a_notebook_on_a_host_answers_here_until_ctrl_c(nodes: Nodes, tmp_path: Path) -> None:
    tag = Image(load_stack("notebook-gpu")).tag
    program = f"RUN printf '#!/bin/sh\\n{JUPYTER}\\n' > /usr/bin/jupyter && chmod 755 /usr/bin/jupyter"
    nodes.bed.sh(HOST, f"docker build -q -t {tag} - <<'END'\nFROM {built('cpu')}\nUSER root\n{program}\nEND\n")
    process = nodes.inv(tmp_path, "notebook", *on_host(nodes))
    try:
        assert process.stdout
        line = next(line for line in process.stdout if "JupyterLab" in line)
        assert re.search(r"is at http://127\.0\.0\.1:\d+/lab\?token=\w{48}$", line.strip()), line
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=300)
    assert left(nodes) == ""


def test_the_gpus_of_a_host_are_claimed_for_a_shell(nodes: Nodes, tmp_path: Path) -> None:
    """There is none to be given to a container, and that is said; what the engine tells afterwards shows the claim."""
    nodes.bed.sh(HOST, f"docker tag {built('cpu')} {Image(load_stack('notebook-gpu')).tag}")
    with nodes.bed.planted(WITHOUT_DRIVER, "rm -r /usr/bin/nvidia-smi /run/nvidia-standin", HOST):
        began = nodes.bed.sh(HOST, "date +%s").strip()
        process = nodes.inv(tmp_path, "shell", "notebook-gpu", *on_host(nodes), "--", "true")
        said = process.communicate(timeout=300)[0]
    assert process.returncode == 2 and "error: the engine of gpu1 knows no GPUs\n  cure:" in said, said
    words = f"--since {began} --until $(date +%s) --filter type=container"
    told = nodes.bed.sh(HOST, f"docker events {words} --format '{{{{.Action}}}} {{{{.Actor.Attributes.name}}}}'")
    shown = [
        line for line in told.splitlines() if re.search(rf"^(create|destroy) ({reservation.NAME}|.*-shell$)", line)
    ]
    assert shown[0] == f"create {reservation.NAME}" and shown[1].startswith("create"), said
    assert [line.split()[0] for line in shown[2:]] == ["destroy", "destroy"], said
    assert left(nodes) == ""
