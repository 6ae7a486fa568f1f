"""From a Command to `docker run`: rights, folders, networks and what must not be seen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gpulab.common.paths import LABS
from gpulab.common.resources import Usage
from gpulab.engines.container_job import usage
from gpulab.engines.docker import NETWORK
from gpulab.engines.docker_shell import DockerShell
from gpulab.engines.local import stack_environment
from gpulab.engines.rank_logs import RankLogs
from gpulab.lab.lab import find_lab
from gpulab.plan.container import CACHES, below, here, run_words, shipped
from gpulab.plan.make import plan
from gpulab.plan.plan import Node, Plan, PlanSpec, Site
from gpulab.plan.script import LocalShell, as_script
from gpulab.stacks.stack import load_stack

HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN")
NODES = [Node("a", "node0", "eth0"), Node("b", "node1", "eth0")]


def planned(tmp_path: Path, lab: str = "quickstart", profile: str = "cpu") -> Plan:
    ports = {"base": 8000, "serve": 8001}
    spec = PlanSpec(lab=find_lab(lab), profile=profile, stack=load_stack("cpu"), ports=ports)
    return plan(spec, tmp_path / "a-lab" / "run", Site(NETWORK, NODES))


def words(step: str, made: Plan, rank: int = 0, gpus: tuple[str, ...] = ()) -> list[str]:
    return run_words(made.ranks(step)[rank], made, here(made, "image:tag", gpus))


def after(flag: str, given: list[str]) -> list[str]:
    return [given[n + 1] for n, word in enumerate(given) if word == flag]


def test_a_container_has_no_rights_beyond_the_callers(tmp_path):
    given = words("train", planned(tmp_path))
    assert after("--cap-drop", given) == ["ALL"]
    assert after("--security-opt", given) == ["no-new-privileges"]
    assert "--privileged" not in given
    assert after("--user", given) == [f"{os.getuid()}:{os.getgid()}"]


def test_a_server_is_published_to_this_machine_alone_and_known_to_the_others_by_its_step(tmp_path):
    made = planned(tmp_path)
    assert after("--publish", words("serve", made)) == ["127.0.0.1:8001:8001"]
    assert after("--publish", words("train", made)) == []
    assert made.command("chat").argv[2] == "http://serve:8001/v1"
    assert after("--network-alias", words("serve", made)) == ["serve"]


def test_only_the_run_twins_and_caches_can_be_written(tmp_path):
    made = planned(tmp_path)
    volumes = after("--volume", words("train", made))
    assert f"{made.lab.folder}:{made.lab.folder}:ro" in volumes
    writable = [v for v in volumes if not v.endswith(":ro")]
    assert writable[0].startswith(str(made.run))
    assert len(writable) == 2, "the run and the twins: a rehearsal downloads nothing"


def test_a_container_reads_what_the_labs_share_and_a_host_is_sent_it(tmp_path):
    made = planned(tmp_path)
    assert f"{LABS}/common:{LABS}/common:ro" in after("--volume", words("train", made))
    assert (LABS / "common/data/capitals.jsonl", ".common/data/capitals.jsonl") in shipped(made)
    assert below(made, Path("/run"))[LABS / "common"] == Path("/run/.common")


def test_a_token_is_handed_on_by_name_and_its_value_is_in_no_argument(tmp_path, monkeypatch):
    for name in (*CACHES, "HF_TOKEN"):
        monkeypatch.setenv(name, f"{tmp_path}/the-secret" if name == "HF_TOKEN" else str(tmp_path))
    given = words("train", planned(tmp_path, profile="gpu"))
    assert "HF_TOKEN" in after("--env", given)
    assert not [w for w in given if "the-secret" in w]


@pytest.mark.parametrize("name", HUB_TOKENS)
def test_a_rehearsal_gets_no_token_of_a_hub(tmp_path, monkeypatch, name):
    """With one ms-swift logs in, which needs the network."""
    monkeypatch.setenv(name, "hf_the-secret")
    made = planned(tmp_path)
    assert {c.env.get(name) for c in made.commands} == {""}
    assert name not in after("--env", words("train", made)) and f"{name}=" in after("--env", words("train", made))
    assert stack_environment(load_stack("cpu"), made.command("train").env)[name] == ""
    script = as_script(LocalShell(made))
    assert f"export {name}=''" in script and "hf_the-secret" not in script


def test_behind_a_proxy_the_runs_own_servers_are_reached_directly(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    names = next(v for v in after("--env", words("chat", planned(tmp_path))) if v.startswith("no_proxy="))
    assert {"127.0.0.1", "base", "serve"} <= set(names.partition("=")[2].split(","))


def test_gpus_come_with_pinned_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    given = words("train", planned(tmp_path, profile="gpu"), gpus=("--gpus", "all"))
    assert after("--gpus", given) == ["all"]
    assert "memlock=-1" in after("--ulimit", given)
    assert f"{tmp_path}/hf:{tmp_path}/hf" in after("--volume", given)
    assert (tmp_path / "hf").is_dir(), "made here: docker would make it root's"


def test_nodes_of_a_step_know_their_rank_and_the_master(tmp_path):
    made = planned(tmp_path, "multi-node")
    for rank in (0, 1):
        given = words("swift", made, rank)
        environment = dict(pair.split("=", 1) for pair in after("--env", given) if "=" in pair)
        told = {k: environment[k] for k in ("NNODES", "NODE_RANK", "MASTER_ADDR", "GLOO_SOCKET_IFNAME")}
        assert told == {"NNODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "node0", "GLOO_SOCKET_IFNAME": "eth0"}
        assert after("--network-alias", given) == [f"node{rank}"]


@pytest.mark.parametrize("lab", ["quickstart", "multi-node"])
def test_the_script_of_containers_is_valid_shell_that_hides_no_folder(tmp_path, lab):
    made = planned(tmp_path, lab)
    script = as_script(DockerShell(made, "image:tag", lambda plan, command: here(plan, "image:tag", ())))
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert str(tmp_path) not in script[script.index("== twin") :]


def test_what_docker_stats_says():
    assert usage({"CPUPerc": "101.50%", "MemUsage": "1.5GiB / 8GiB"}) == Usage(101.5, 1536.0)
    assert usage({"CPUPerc": "--", "MemUsage": "-- / --"}) == Usage(0.0, 0.0)


def test_the_nodes_logs_are_interleaved_whole_lines_and_nothing_twice(tmp_path):
    first, second, merged = tmp_path / "0.log", tmp_path / "1.log", tmp_path / "all.log"
    logs = RankLogs({0: first, 1: second}, merged)
    first.write_text("one\ntw")
    second.write_text("10%\r50%\r100%\n")
    assert logs.follow() == ["[0] one", "[1] 100%"]
    with first.open("a") as stream:
        stream.write("o\n")
    assert logs.follow() == ["[0] two"]
    first.write_text("one\n")  # a lost connection: followed anew from the start
    assert logs.follow() == []
    first.write_text("one\ntwo\nthree\n")
    assert logs.follow() == ["[0] three"]
    assert merged.read_text() == "[0] one\n[1] 100%\n[0] two\n[0] three\n"
