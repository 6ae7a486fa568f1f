"""What two nodes are refused for before anything starts on them: one line each, and no run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gpulab.hosts import reservation
from tests.runs import record
from tests.testbed.conftest import WITHOUT_DRIVER
from tests.testbed.on_nodes import Nodes, beats
from tests.testbed.stack_images import built
from tests.wait import wait_until


def test_the_second_of_two_runs_on_the_same_hosts_is_refused(nodes: Nodes, beating: Any, tmp_path: Path) -> None:
    process, runs = beating
    other = tmp_path / "other"
    code, said = nodes.run(other)
    assert code == 2
    assert re.search(rf"gpu[12] is in use by the run {record(runs)['run']}", said), said
    assert not list(other.glob("tests-pair/*")), "nothing started, so there is no run"
    seen = len(beats(runs, 1))
    wait_until(lambda: len(beats(runs, 1)) > seen + 5, "the first goes on", timeout=30)
    assert process.poll() is None


def test_of_two_runs_that_start_at_once_one_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    both = [nodes.start(tmp_path / name) for name in ("one", "other")]
    said = {p.communicate(timeout=300)[0]: p.returncode for p in both}
    assert sorted(said.values()) == [0, 2], said
    refused = next(text for text, code in said.items() if code == 2)
    assert re.search(r"gpu1 is in use by the run tests-pair/", refused), refused
    assert not nodes.containers()


def test_a_claim_that_a_run_left_on_a_host_that_could_not_be_asked_is_forgotten(nodes: Nodes, tmp_path: Path) -> None:
    assert nodes.run(tmp_path)[0] == 0
    over = tmp_path / record(tmp_path)["run"]
    nodes.bed.sh("gpu2", f"docker create --name {reservation.NAME} --label gpulab.run={over} {built('cpu')} true")
    code, said = nodes.run(tmp_path)
    assert code == 0, said


def test_gpus_that_another_program_uses_are_refused(nodes: Nodes, tmp_path: Path) -> None:
    with nodes.bed.planted(WITHOUT_DRIVER, "rm -r /usr/bin/nvidia-smi /run/nvidia-standin", *nodes.hosts):
        nodes.bed.sh("gpu1", "echo '4711, /usr/bin/python3' > /run/nvidia-standin/jobs")
        code, said = nodes.run(tmp_path, lab="gpu", how="")
    assert code == 2
    assert "the GPUs of gpu1 are in use: 4711, /usr/bin/python3" in said, said
    assert nodes.containers() == "", "its claim is given up"


def test_a_taken_master_port_is_said_before_anything_starts(nodes: Nodes, tmp_path: Path) -> None:
    listen = 'import socket, signal; s = socket.create_server(("0.0.0.0", 29400)); signal.pause()'
    with nodes.bed.planted(f"systemd-run -q --unit taken python3 -c '{listen}'", "systemctl stop taken", "gpu1"):
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert "port 29400 of gpu1" in said
    assert not list(tmp_path.glob("*/*")) + list(tmp_path.glob(".active/*")), "nothing started, so there is no run"


def test_clocks_that_differ_are_said_before_anything_starts(nodes: Nodes, tmp_path: Path) -> None:
    """Of whoever logs in to gpu2: hosts in containers share one clock."""
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    ahead = f"printf 'LD_PRELOAD={library}\nFAKETIME=+2m\n' >> /etc/environment"
    with nodes.bed.planted(ahead, "sed -i '/LD_PRELOAD/d; /FAKETIME/d' /etc/environment", "gpu2"):
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert re.search(r"the clocks of gpu1 and gpu2 differ by 1[12]\d s", said), said


def test_a_node_without_the_shared_folder_is_said_before_anything_starts(nodes: Nodes, tmp_path: Path) -> None:
    own = "mount -t tmpfs none /srv/gpulab && install -d -m 2777 -g gpulab /srv/gpulab/runs"
    with nodes.bed.planted(own, "umount /srv/gpulab", "gpu2"):
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert "gpu2 does not see" in said
    assert "is not shared" in said


def test_a_full_shared_disk_is_one_line(nodes: Nodes, tmp_path: Path) -> None:
    runs = "/srv/gpulab/runs"
    small = f"mount -t tmpfs -o size=64k none {runs} && chown gpulab:gpulab {runs} && chmod 2775 {runs}"
    with nodes.bed.planted(small, f"umount {runs}", *nodes.hosts):
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert re.search(r"GiB free|disk of gpu1 is full", said), said


def test_another_image_under_the_same_tag_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    tag = built("cpu")
    other = f"docker tag {tag} kept:1; printf 'FROM kept:1\\nLABEL other=1\\n' | docker build -q -t {tag} -"
    with nodes.bed.planted(other, f"docker tag kept:1 {tag}", "gpu2"):
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert "gpu2 and gpu1 have different images" in said


def test_a_host_without_the_image_is_told_how_to_get_it(nodes: Nodes, tmp_path: Path) -> None:
    tag = built("cpu")
    with nodes.bed.planted(f"docker tag {tag} kept:1; docker rmi -f {tag}", f"docker tag kept:1 {tag}", "gpu2"):
        code, said = nodes.run(tmp_path)
    assert code == 2
    assert f"gpu2 has no image {tag}" in said


def test_more_nodes_than_hosts_is_wrong_usage(nodes: Nodes, tmp_path: Path) -> None:
    code, said = nodes.run(tmp_path, "--nodes", "4")
    assert code == 2
    assert "4 nodes are asked for" in said
