"""What a run on hosts asks before its first step: how often each host is asked, over which login, and what is said
where something is wrong. `ssh` and `docker` are small scripts that write down how they were called; `ssh` runs its
words here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from pathlib import Path

import pytest
from rich.console import Console

from gpulab.common.errors import UsageError
from gpulab.engines.progress import Watch
from gpulab.engines.remote import RemoteBackend
from gpulab.engines.session import StepSession
from gpulab.hosts.compute_node import ComputeNode, ask_compute_nodes
from gpulab.hosts.inventory import Host
from gpulab.hosts.preflight import must_be_one
from gpulab.images.image import Image
from gpulab.lab.lab import load_lab
from gpulab.plan.make import plan
from gpulab.plan.plan import Plan, PlanSpec, Site
from gpulab.stacks.stack import load_stack

LAB = """\
title: A step on two nodes
upstream: none
curriculum: none
stack: cpu
needs: {nodes: 2, minutes: 1, disk_gib: 0.1}
steps:
  say:
    run: sh -c true
    spread: true
rehearse: {}
"""
IMAGE = {"Id": "sha256:1", "Os": "linux", "Architecture": "amd64", "Created": "now", "RootFS": {"Layers": ["one"]}}
SSH = """\
case "$*" in *"-O stop"*) exit 255 ;; esac
for word; do before=$at at=$command command=$word; done
case "$*" in *ControlMaster*) how=shared ;; *) how=alone ;; esac
echo "$at ssh $how" >> "$CALLS"
exec sh -c "$command"
"""
# Over ssh:// it says so; `run --entrypoint PROGRAM IMAGE WORDS` is run without a container.
DOCKER = """\
[ -z "$DOCKER_HOST" ] || echo "${DOCKER_HOST#ssh://} docker $1" >> "$CALLS"
case "$1" in
  info) [ -z "$ENGINE_IS_OFF" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }; echo "$INFO" ;;
  image) echo "$IMAGE" ;;
  create)
    [ "$DOCKER_HOST" != "ssh://$CLAIMED" ] || { echo "The container name is already in use" >&2; exit 1; } ;;
  inspect) echo '{"gpulab.run": "/elsewhere/runs/train-dpo/now"}' ;;
  run) while [ "$1" != --entrypoint ]; do shift; done; program=$2; shift 3; exec "$program" "$@" ;;
esac
"""


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Host]:
    """Two hosts that share a folder; their engines have the image of the stack cpu."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in {"ssh": SSH, "docker": DOCKER}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("INFO", json.dumps({"ServerVersion": "28", "Architecture": "x86_64"}))
    monkeypatch.setenv("IMAGE", json.dumps({**IMAGE, "RepoTags": [Image(load_stack("cpu")).tag]}))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    shared = tmp_path / "shared"
    (shared / "runs").mkdir(parents=True)
    return [Host(name, name, variables={"lab_storage_path": str(shared)}) for name in ("gpu1", "gpu2")]


def asked(hosts: list[Host]) -> list[ComputeNode]:
    """The hosts as nodes that meet on this machine's loopback."""
    found = ask_compute_nodes(hosts, "gpus.ini", [Image(load_stack("cpu")).tag])
    return [dataclasses.replace(node, address="127.0.0.1") for node in found if isinstance(node, ComputeNode)]


def planned(backend: RemoteBackend, write_lab, tmp_path: Path, program: str = "sh") -> Plan:
    lab = load_lab(write_lab(("run: sh", f"run: {program}"), text=LAB))
    spec = PlanSpec(lab=lab, profile="cpu", stack=load_stack("cpu"))
    made = plan(spec, tmp_path / "runs" / "start-tiny" / "now", Site(backend.network, backend.nodes(2)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        return dataclasses.replace(made, rendezvous=str(free.getsockname()[1]))


def calls(tmp_path: Path, host: str) -> list[str]:
    lines = (line.split(" ", 1) for line in (tmp_path / "calls").read_text().splitlines())
    return [words for name, words in lines if name == host]


def test_each_host_is_asked_once_and_the_login_is_shared(hosts: list[Host], write_lab, tmp_path: Path) -> None:
    backend = RemoteBackend(load_stack("cpu"), asked(hosts))
    backend.prepare()
    assert [calls(tmp_path, host.name) for host in hosts] == [["ssh shared"], ["ssh shared"]]
    backend.lay_ground(planned(backend, write_lab, tmp_path))
    assert sorted(calls(tmp_path, "gpu1")) == ["docker create", "docker run", "ssh shared", "ssh shared"]
    assert calls(tmp_path, "gpu2") == ["ssh shared", "docker create", "ssh shared"]


def test_an_engine_that_did_not_answer_is_asked_itself_and_says_why(hosts, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENGINE_IS_OFF", "1")
    backend = RemoteBackend(load_stack("cpu"), asked(hosts))
    with pytest.raises(UsageError, match="gpu1"):
        backend.prepare()
    assert "docker info" in calls(tmp_path, "gpu1")


def test_an_image_that_was_not_found_is_looked_for_again(hosts, tmp_path, monkeypatch) -> None:
    nodes = asked(hosts)
    nodes[1] = dataclasses.replace(nodes[1], told=dataclasses.replace(nodes[1].told, images={}))
    monkeypatch.setenv("IMAGE", json.dumps({**IMAGE, "RootFS": {"Layers": ["another"]}}))
    with pytest.raises(UsageError, match="gpu2 and gpu1 have different images"):
        RemoteBackend(load_stack("cpu"), nodes).prepare()
    assert calls(tmp_path, "gpu2") == ["ssh shared", "docker image"]


def test_a_program_that_the_image_lacks_is_named_with_its_line_and_nothing_is_unpacked(
    hosts: list[Host], write_lab, tmp_path: Path
) -> None:
    backend = RemoteBackend(load_stack("cpu"), asked(hosts))
    backend.prepare()
    with pytest.raises(UsageError, match=r"lab\.yaml:8: the stack cpu has no program 'swiift'"):
        backend.lay_ground(planned(backend, write_lab, tmp_path, program="swiift"))
    assert not list((tmp_path / "shared" / "runs").iterdir())


def test_a_run_that_is_refused_after_its_files_were_shipped_leaves_none(
    hosts: list[Host], write_lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAIMED", "gpu2")
    backend = RemoteBackend(load_stack("cpu"), asked(hosts))
    backend.prepare()
    made = planned(backend, write_lab, tmp_path)
    with pytest.raises(UsageError, match="gpu2 is in use by the run train-dpo/now"):
        StepSession(backend, made, lambda _: made, Watch(Console(quiet=True), ["say"]))
    assert "docker run" in calls(tmp_path, "gpu1"), "its files were shipped beside the second claim"
    assert not list((tmp_path / "shared" / "runs").glob("*/*"))


@pytest.mark.parametrize("refusal", ["is in use by", "another run began in the same second"])
def test_of_two_runs_with_one_name_the_second_is_refused_and_the_first_keeps_its_files(
    refusal: str, hosts: list[Host], write_lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people start the same lab in the same second. The second time nobody was in time to claim the hosts."""
    first, second = (RemoteBackend(load_stack("cpu"), asked(hosts)) for _ in range(2))
    first.prepare()
    second.prepare()
    made = planned(first, write_lab, tmp_path)
    first.lay_ground(made)
    files = sorted((tmp_path / "shared" / "runs").rglob("*"))
    monkeypatch.setenv("CLAIMED", "gpu1" if refusal == "is in use by" else "")
    with pytest.raises(UsageError, match=refusal):
        StepSession(second, made, lambda _: made, Watch(Console(quiet=True), ["say"]))
    assert files and sorted((tmp_path / "shared" / "runs").rglob("*")) == files


def test_a_taken_port_of_the_master_is_said(hosts: list[Host], write_lab, tmp_path: Path) -> None:
    backend = RemoteBackend(load_stack("cpu"), asked(hosts))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        made = dataclasses.replace(planned(backend, write_lab, tmp_path), rendezvous=port)
        with pytest.raises(UsageError, match=rf"port {port} of gpu1 \(127\.0\.0\.1\) can't be listened on"):
            backend.lay_ground(made)


def test_a_node_that_does_not_see_the_first_ones_files_is_named(hosts: list[Host], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gpu1 does not see .*/none of gpu1: .* is not shared"):
        must_be_one(asked(hosts), tmp_path / "none", None)
