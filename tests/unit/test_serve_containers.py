"""`inv serve` in containers: what docker compose is given, here and on hosts, and what is left of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpulab.common import service_images
from gpulab.common.errors import UsageError
from gpulab.engines import service as services
from gpulab.engines import service_containers
from gpulab.engines.docker import NETWORK
from gpulab.hosts.compute_node import ComputeNode
from gpulab.hosts.inventory import Host
from gpulab.plan.machine import Gpu, Machine
from gpulab.plan.service_file import KEY
from gpulab.records.service import all_services
from gpulab.runs import serve as module
from gpulab.runs import serve_place, served
from gpulab.runs.serve_request import ServeRequest
from tests.records import open_run

# An engine that has every image and writes down what it is asked. `ps` finds a container; what it says of it is its
# test's to choose.
ENGINE = """\
#!/bin/sh
printf '%s\\n' "$*" >> {folder}/asked
case "$1 $2" in
  "info --format") echo '{{"ServerVersion": "28", "Architecture": "x86_64"}}' ;;
  "image inspect") case "$4" in *RepoDigests*) echo '["nginx@{digest}"]' ;; *) echo '{image}' ;; esac ;;
  "run --interactive") cat > {folder}/sent ;;
  "create --name") {create} ;;
  "compose --file") {up} ;;
  "ps --all") echo c1 ;;
  "inspect --format")
    case "$3" in *RestartCount*) echo '{state} /tiny' ;; *Health*) echo {health} ;; *Status*) echo running ;; esac ;;
  "logs --tail") echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB" ;;
esac
"""
DIGEST = f"sha256:{'a' * 64}"
IMAGE = {
    "Id": "sha256:1", "Os": "linux", "Architecture": "amd64", "Created": "2026", "RootFS": {"Layers": []}, "Config": {},
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of a model."""
    folder = tmp_path / "Tiny-1B"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


Engine = Callable[..., list[str]]


@pytest.fixture
def engine(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """engine(up=..., ...) puts the stand-in on PATH; then it returns what it was asked, a line a call."""
    assert runs
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setattr(service_images, "DIGESTS", tmp_path / "services.json")
    monkeypatch.setattr(serve_place, "machines_of", lambda nodes, *_: [n.machine for n in nodes] or [machine(0)])
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    answer(monkeypatch, True)

    def put(up: str = "true", create: str = "true", state: str = "running 0 0", health: str = "healthy") -> list[str]:
        asked = tmp_path / "asked"
        if not (tmp_path / "docker").exists():
            told = {"up": up, "create": create, "state": state, "health": health}
            said = {"image": json.dumps(IMAGE), "digest": DIGEST, "folder": tmp_path}
            (tmp_path / "docker").write_text(ENGINE.format(**told, **said))
            (tmp_path / "docker").chmod(0o755)
        return asked.read_text().splitlines() if asked.exists() else []

    return put


def answer(monkeypatch: pytest.MonkeyPatch, ready: bool) -> None:
    monkeypatch.setattr(module.ready, "answers", lambda *_, **__: ready)


def machine(gpus: int, name: str = "gpu1") -> Machine:
    return Machine(name, "Debian", "a CPU", 8, 64.0, "3.12", [Gpu("H100", 80, 80, str(n)) for n in range(gpus)])


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ComputeNode]:
    """Two hosts of two GPUs, whose engine is this machine's; how many of them are found is what is asked for."""
    of = [
        Host(name, f"10.0.0.{n}", variables={"ansible_connection": "local"}) for n, name in ((1, "gpu1"), (2, "gpu2"))
    ]
    told = {"HF_HOME": "/srv/gpulab/models/hf"}
    nodes = [
        ComputeNode(host, machine(2, host.name), "1007:2000", tmp_path / "srv", told, 100.0, 64, "eth0", host.address,
                    False, 0.0)
        for host in of
    ]  # fmt: skip
    monkeypatch.setattr(
        serve_place, "compute_nodes_for",
        lambda needs, engine, inventory, limit, count, stacks: nodes[:count] if inventory else [],
    )  # fmt: skip
    monkeypatch.setattr(
        service_containers, "load_hosts", lambda _, limit: [host for host in of if host.name in limit.split(",")]
    )
    return nodes


def serve(model: object, **asked: Any) -> Any:
    return module.serve(ServeRequest(**{"model": str(model), "name": "tiny", "within": 30, **asked}))


def file(name: str = "compose.yml") -> Any:
    (service,) = all_services()
    return yaml.safe_load((service.folder / name).read_text())


def test_two_servers_here_have_a_port_each_and_nginx_in_front_knows_both(model: Path, engine: Engine) -> None:
    engine()
    made = serve(model, replicas=2, settings=["max_new_tokens=8"]).data
    written = file()
    first, second = written["services"]["server-1"], written["services"]["server-2"]
    ports = [server["ports"][0].split(":")[1] for server in (first, second)]
    assert len({str(made["port"]), *ports}) == 3
    for server, port in zip((first, second), ports, strict=True):
        assert server["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert server["command"][server["command"].index("--port") + 1] == port
        assert server["command"][server["command"].index("--host") + 1] == NETWORK.bind
        assert "8" in server["command"] and server["user"] == f"{os.getuid()}:{os.getgid()}"
        assert (server["restart"], server["cap_drop"]) == ("unless-stopped", ["ALL"])
        assert server["healthcheck"]["test"][-3:] == [f"http://127.0.0.1:{port}/v1", "tiny", "0"]
        assert f"{model}:{model}:ro" in server["volumes"]
    conf = written["configs"]["nginx"]["content"]
    assert f"listen 127.0.0.1:{made['port']};" in conf
    assert [f"server 127.0.0.1:{port} " in conf for port in ports] == [True, True]
    assert "$$http_host" in conf and "$http_host" not in conf.replace("$$", ""), "compose fills in no variable"
    name, _, digest = written["services"]["front"]["image"].partition("@")
    assert name.startswith("docker.io/library/nginx:")
    assert digest == DIGEST, "what the engine pulled is what comes up again, whatever the tag means then"


def test_a_container_alone_is_published_without_nginx_and_stopped_with_all_of_it(model: Path, engine: Engine) -> None:
    engine()
    made = serve(model, engine="docker")
    written = file()
    assert list(written["services"]) == ["server"]
    assert written["services"]["server"]["ports"] == [f"127.0.0.1:{made.data['port']}:{made.data['port']}"]
    assert served.served().data["services"][0]["state"] == "ready"
    (service,) = all_services()
    before = len(engine())
    assert served.stop("tiny", every=False).data == {"stopped": {"tiny": 1}}
    asked = engine()[before:]
    stopped = next(n for n, call in enumerate(asked) if call == "stop --time 20 c1")
    assert stopped < next(n for n, call in enumerate(asked) if call.startswith("rm --force --volumes c1"))
    assert any(call.startswith("network ls") for call in asked) and all_services() == []
    assert "OutOfMemory" in service.log.read_text(), "its last words stay"


def test_a_key_reaches_the_containers_by_its_name_alone(
    model: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "a-secret-key")
    engine()
    serve(model, engine="docker", public=True)
    (service,) = all_services()
    server = file()["services"]["server"]
    assert KEY in server["environment"] and server["ports"][0].startswith("0.0.0.0:")
    kept = [path.read_text() for path in service.folder.rglob("*") if path.is_file()]
    assert "a-secret-key" not in "".join([*kept, *engine()])


def test_on_a_host_its_gpus_are_claimed_and_the_model_is_brought(
    model: Path, engine: Engine, hosts: list[ComputeNode]
) -> None:
    engine()
    made = serve(model, hosts="gpus.ini", gpus=1).data
    assert (made["hosts"], made["stack"]) == (["gpu1"], "train")
    asked = engine()
    claimed = next(n for n, call in enumerate(asked) if call.startswith("create --name gpulab-claim"))
    assert claimed < next(n for n, call in enumerate(asked) if call.startswith("compose "))
    server = file("compose-gpu1.yml")["services"]["server"]
    assert (
        "CUDA_VISIBLE_DEVICES=0" in server["environment"] and "HF_HOME=/srv/gpulab/models/hf" in server["environment"]
    )
    assert server["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert f"{hosts[0].shared}/runs/.services/tiny/models/0-Tiny-1B:{model}:ro" in server["volumes"]
    served.stop("tiny", every=False)
    assert any("rm -rf" in call and call.endswith(f"{hosts[0].shared}/runs/.services/tiny") for call in engine())


def test_what_a_run_on_a_host_made_is_served_from_there(
    model: Path, engine: Engine, hosts: list[ComputeNode], runs: Path
) -> None:
    open_run(slug="train-x", lab="train/x", steps=[{"step": "merge"}], hosts=["gpu1"]).close("done")
    (run,) = runs.glob("train-x/*")
    (run / "merge").mkdir()
    model.rename(run / "merge/Tiny-1B")  # of it only what is small came back
    engine()
    serve("train/x", hosts="gpus.ini")
    volumes = file("compose-gpu1.yml")["services"]["server"]["volumes"]
    assert f"{hosts[0].shared}/runs/train-x/{run.name}:{run}:ro" in volumes
    assert not any("models/0-" in volume for volume in volumes)


def test_on_several_hosts_each_has_a_server_and_the_first_nginx(
    model: Path, engine: Engine, hosts: list[ComputeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "a-secret-key")
    monkeypatch.setattr("gpulab.hosts.preflight.must_be_one", lambda *_: None)
    engine()
    made = serve(model, hosts="gpus.ini", replicas=2).data
    first, second = file("compose-gpu1.yml"), file("compose-gpu2.yml")
    assert (set(first["services"]), set(second["services"])) == ({"server-1", "front"}, {"server-2"})
    port = first["services"]["server-1"]["ports"][0].split(":")[1]
    assert first["services"]["server-1"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert second["services"]["server-2"]["ports"] == [f"10.0.0.2:{port}:{port}"]
    conf = first["configs"]["nginx"]["content"]
    assert f"server 127.0.0.1:{port} " in conf and f"server 10.0.0.2:{port} " in conf and made["replicas"] == 2


def test_one_that_ends_while_it_is_loaded_is_a_failure_with_its_cause(
    model: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, False)
    engine(state="restarting 1 1")
    died, cause = serve(model, engine="docker").failures
    assert "tiny ended with exit 1 (container tiny), its log: " in str(died)
    assert "memory" in str(cause) and all_services() == []
    assert any(call.startswith("rm --force") for call in engine())


def test_replicas_are_ready_when_each_has_passed_its_health_check(model: Path, engine: Engine) -> None:
    engine(health="starting")  # nginx gives an answer as soon as one of them does
    died, *_ = serve(model, replicas=2, within=1).failures
    assert "tiny did not answer within 1 s" in str(died)


def test_what_compose_refuses_is_told_and_nothing_is_left(model: Path, engine: Engine) -> None:
    engine(up="echo 'docker: unknown command: docker compose' >&2; exit 1")
    with pytest.raises(UsageError, match="has no compose"):
        serve(model, replicas=2)
    assert all_services() == [] and any(call.startswith("rm --force") for call in engine())


def test_what_an_engine_that_goes_away_meanwhile_may_have_begun_stays_on_record(model: Path, engine: Engine) -> None:
    gone = "#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1"
    engine(up=f"echo '{gone}' > $0; echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(UsageError, match="no Docker engine answers"):
        serve(model, engine="docker")
    assert [service.name for service in all_services()] == ["tiny"], "./inv stop can still end it"


def test_a_host_that_another_uses_is_told_and_no_service_is_left(
    model: Path, engine: Engine, hosts: list[ComputeNode]
) -> None:
    held = json.dumps({"gpulab.run": "/elsewhere/runs/.services/theirs", "gpulab.by": "alice@laptop"})
    assert hosts
    engine(create=f"echo 'Conflict: the name is already in use' >&2; echo '{held}' > /dev/null; exit 1")
    script = Path(os.environ["PATH"].split(":")[0]) / "docker"
    script.write_text(script.read_text().replace("*Status*)", f"*Labels*) echo '{held}' ;; *Status*)"))
    with pytest.raises(UsageError, match=r"gpu1 is in use by .*theirs of alice@laptop"):
        serve(model, hosts="gpus.ini")
    assert all_services() == [] and not any(call.startswith("compose") for call in engine())


def test_of_an_engine_that_does_not_answer_the_service_stays_on_record(
    model: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine()
    serve(model, engine="docker")
    answer(monkeypatch, False)
    script = Path(os.environ["PATH"].split(":")[0]) / "docker"
    whole = script.read_text()
    script.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    listed = served.served()
    assert listed.data["services"][0]["state"] == "unreachable" and "does not answer" in str(listed.failures[0])
    with pytest.raises(UsageError, match="no Docker engine answers"):
        served.stop("tiny", every=False)
    script.write_text(whole)
    assert services.end(all_services()[0]) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"replicas": 65}, "--replicas 65"),
        ({"engine": "slurm"}, "no engine 'slurm' for a service"),
        ({"engine": "local", "replicas": 2}, "--engine local is one server"),
        ({"gpus": 1}, "--gpus is for containers"),
        ({"limit": "gpu1"}, "--limit is of an inventory"),
        ({"replicas": 2, "backend": "sglang"}, "sglang needs a GPU, gpu1 has none"),
        ({"replicas": 2, "gpus": 1}, "--gpus 1 needs a GPU, gpu1 has none"),
        ({"hosts": "gpus.ini", "replicas": 2}, "nginx on one host asks servers on others: that needs a key"),
        ({"hosts": "gpus.ini", "gpus": 3}, "--gpus 3: gpu1 has 2"),
        ({"hosts": "gpus.ini", "public": True}, "--public needs a key"),
        ({"nodes": 2, "backend": "vllm"}, "--nodes divides one model over hosts"),
        ({"hosts": "gpus.ini", "nodes": 2}, "--nodes: transformers serves from one host"),
        ({"hosts": "gpus.ini", "nodes": 2, "backend": "vllm", "settings": ["api_key=x"]}, "--set api_key: a secret"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    model: Path, engine: Engine, hosts: list[ComputeNode], asked: dict[str, Any], message: str
) -> None:
    assert hosts
    engine()
    with pytest.raises(UsageError, match=message):
        serve(model, **asked)
    assert all_services() == [] and not any(call.startswith(("create", "compose")) for call in engine())


def test_here_each_server_has_gpus_of_its_own(
    model: Path, engine: Engine, hosts: list[ComputeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hosts
    four = replace(machine(4), hostname="here")
    for place in ("gpulab.runs.serve_place.machines_of", "gpulab.runs.shell.machines_of"):
        monkeypatch.setattr(place, lambda *_: [four])
    engine()
    serve(model, replicas=2)
    seen = [file()["services"][f"server-{n}"]["environment"] for n in (1, 2)]
    assert ["CUDA_VISIBLE_DEVICES=0,1" in seen[0], "CUDA_VISIBLE_DEVICES=2,3" in seen[1]] == [True, True]


def test_one_model_over_two_hosts_is_vllms_own_server_with_a_worker(
    model: Path, engine: Engine, hosts: list[ComputeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very line was read by vLLM 0.32's own parser."""
    assert hosts
    monkeypatch.setattr("gpulab.hosts.preflight.must_be_one", lambda *_: None)
    engine()
    made = serve(model, hosts="gpus.ini", nodes=2, backend="vllm", settings=["max_model_len=8192"]).data
    first, second = (file(f"compose-{host}.yml")["services"] for host in made["hosts"])
    shared = (
        f"vllm serve {model} --served-model-name tiny --tensor-parallel-size 2 --pipeline-parallel-size 2 --nnodes 2 "
        "--node-rank {} --master-addr 10.0.0.1 --master-port 29400 --max-model-len 8192 {}"
    )
    address = f"--host 127.0.0.1 --port {made['port']}"
    assert " ".join(first["node-0"]["command"]) == shared.format(0, address)
    assert " ".join(second["node-1"]["command"]) == shared.format(1, "--headless")
    for node in (first["node-0"], second["node-1"]):
        assert (node["network_mode"], node.get("ports"), node["stop_grace_period"]) == ("host", None, "20s")
        assert f"VLLM_API_KEY=${{{KEY}:-}}" in node["environment"] and "NCCL_SOCKET_IFNAME=eth0" in node["environment"]
    assert "healthcheck" in first["node-0"] and "healthcheck" not in second["node-1"]
