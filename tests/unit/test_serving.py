"""`inv serve`: ready only after an answer, found again whatever became of its inv; mistakes named before a start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpulab.common.errors import UsageError
from gpulab.engines import service as services
from gpulab.inside import ready
from gpulab.plan.adapter_fit import misfit
from gpulab.records.service import all_services
from gpulab.runs import serve as module
from gpulab.runs import served
from gpulab.runs.serve_request import ServeRequest
from gpulab.runs.serve_target import target
from tests.finished_runs import save
from tests.records import open_run
from tests.wait import wait_until

# What stands for ms-swift's server. STAND_IN says what is wrong with it.
SERVER = """\
import json, os, signal, sys, threading, time
stopping = threading.Event()
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
told = sys.argv[1:]
print("told", *told, flush=True)
wrong, key = os.environ.get("STAND_IN"), os.environ.get("GPULAB_API_KEY")
if wrong == "dies":
    sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if wrong == "slow" and asked["model"] == "slowly":
            print("begun", flush=True)
            stopping.wait(60)
            time.sleep(0.5)  # an answer takes its time, also after the request to end
        refused = key and self.headers.get("Authorization") != f"Bearer {key}"
        self.send_response(500 if wrong == "silent" else 400 if refused else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [1]}).encode())
    def log_message(self, *words): pass
class Server(ThreadingHTTPServer):
    daemon_threads = False  # the end waits for answers that have begun
server = Server(("127.0.0.1", int(told[told.index("--port") + 1])), Handler)
def end(*_):
    stopping.set()
    threading.Thread(target=server.shutdown).start()
if wrong == "slow":
    signal.signal(signal.SIGTERM, end)
server.serve_forever()
server.server_close()
"""
# An inv of its own, which is killed or ends.
INV = """\
import sys
from types import SimpleNamespace
from pathlib import Path
from gpulab.runs import serve as module
from gpulab.runs.serve_request import ServeRequest
stack = SimpleNamespace(name="cpu", bin=Path(sys.argv[1]), ensure=lambda: None)
module._stack = lambda backend: (stack, True)
module.serve(ServeRequest(model=sys.argv[2], name="tiny", within=60))
"""
LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def stack(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a stack's programs: its Python runs the stand-in. What is left is stopped."""
    assert runs
    (tmp_path / "server.py").write_text(SERVER)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "server.py"} "$@"\n')
    (folder / "python").chmod(0o755)
    made = SimpleNamespace(name="cpu", bin=folder, ensure=lambda: None)
    monkeypatch.setattr(module, "_stack", lambda backend: (made, True))
    monkeypatch.delenv(module.KEY, raising=False)
    yield folder
    for service in all_services():
        services.end(service)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of one layer."""
    folder = tmp_path / "Tiny-1B"
    save(folder / "model.safetensors", {f"{LAYER}.weight": np.ones((4, 3), np.float32)})
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def adapter(tmp_path: Path, model: Path) -> Callable[..., Path]:
    """adapter(out, inner, layer): a LoRA of rank 2 for a layer of that size; what else its config says."""

    def make(out: int = 4, inner: int = 3, layer: str = LAYER, **config: Any) -> Path:
        folder = tmp_path / f"adapter-{out}-{inner}"
        pair = {"lora_A.weight": np.ones((2, inner), np.float32), "lora_B.weight": np.ones((out, 2), np.float32)}
        save(folder / "adapter_model.safetensors", {f"base_model.model.{layer}.{k}": v for k, v in pair.items()})
        said = {"base_model_name_or_path": str(model), "r": 2, **config}
        (folder / "adapter_config.json").write_text(json.dumps(said))
        return folder

    return make


def serve(model: object, **asked: Any) -> Any:
    return module.serve(ServeRequest(**{"model": str(model), "within": 30, **asked}))


def states() -> dict[str, str]:
    return {row["name"]: row["state"] for row in served.served().data["services"]}


@pytest.mark.usefixtures("stack")
def test_it_is_told_what_was_asked_for_and_answers(model: Path, adapter: Callable[..., Path]) -> None:
    made = serve(model, adapter=[f"capitals={adapter()}"], settings=["max_new_tokens=64"])
    assert (made.data["state"], states()) == ("ready", {"Tiny-1B": "ready"})
    told = Path(made.data["log"]).read_text()
    assert f"--model {model} --adapters capitals={adapter()} " in told
    assert "--max_new_tokens 64" in told and "--host 127.0.0.1" in told
    assert served.stop("Tiny-1B", every=False).data == {"stopped": {"Tiny-1B": 1}}
    assert states() == {}


def inv(stack: Path, model: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", INV, stack, model], env={**os.environ, **environment})


def test_it_goes_on_when_its_inv_ends(stack: Path, model: Path) -> None:
    assert inv(stack, model).wait(60) == 0
    assert states() == {"tiny": "ready"}


def test_an_inv_killed_while_it_waits_leaves_a_service_that_is_found_and_stopped(stack: Path, model: Path) -> None:
    process = inv(stack, model, STAND_IN="silent")
    wait_until(lambda: any(services.processes(one) for one in all_services()), "a process of it")
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert states() == {"tiny": "silent"}
    (service,) = all_services()
    served.stop("tiny", every=False)
    assert services.processes(service) == []


@pytest.mark.usefixtures("stack")
def test_a_server_that_dies_is_a_failure_with_its_cause(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "dies")
    died, cause = serve(model).failures
    assert "Tiny-1B ended with exit 1, its log: " in str(died)
    assert "memory" in str(cause) and "--set vllm_max_model_len=" in str(cause), "what a server has that can be lowered"
    assert "train" not in str(cause)
    assert states() == {}


@pytest.mark.usefixtures("stack")
def test_a_server_that_never_completes_a_chat_is_not_ready_and_is_stopped(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "silent")
    (failure,) = serve(model, within=1).failures
    assert "did not answer within 1 s" in str(failure)
    assert states() == {}


@pytest.mark.usefixtures("stack")
def test_a_stop_lets_a_request_end_that_has_begun(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in drains as uvicorn does: on SIGTERM it takes nothing new, and ends after the last answer."""
    monkeypatch.setenv("STAND_IN", "slow")
    url = serve(model).data["url"]
    with ThreadPoolExecutor() as pool:
        (service,) = all_services()
        asked = pool.submit(ready.answers, url, "slowly", 30)
        wait_until(lambda: "begun" in service.log.read_text(), "the request is under way")
        assert served.stop("Tiny-1B", every=False).data == {"stopped": {"Tiny-1B": 1}}
        assert asked.result() is True
    assert not ready.answers(url, "Tiny-1B", 5)


@pytest.mark.usefixtures("stack")
def test_one_that_died_later_is_told_of(model: Path) -> None:
    serve(model)
    (service,) = all_services()
    for process in services.processes(service):
        process.kill()
    wait_until(lambda: not services.processes(service), "its end")
    assert states() == {"Tiny-1B": "dead"}
    (failure,) = served.served().failures
    assert failure.message.startswith("Tiny-1B died, its log: ")
    assert failure.cure == "./inv stop Tiny-1B forgets it"


@pytest.mark.usefixtures("stack")
def test_a_key_is_sent_by_clients_and_stands_on_no_command_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.KEY, "a-secret-key")
    made = serve(model, public=True)
    assert made.data["state"] == "ready"
    (service,) = all_services()
    assert "a-secret-key" not in (service.folder / "service.json").read_text() + service.log.read_text()
    monkeypatch.delenv(module.KEY)
    assert states() == {"Tiny-1B": "up"}, "without the key it can't be asked"


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"public": True}, "--public needs a key"),
        ({"name": "/"}, "'/' is no name for a service"),
        ({"port": 99999}, "--port 99999: not a port"),
        ({"settings": ["max_new_token=1"]}, "knows no flag 'max_new_token'"),
        ({"settings": ["max_new_tokens=many"]}, "takes no such value of 'max_new_tokens'"),
        ({"settings": ["port=1"]}, "--set port is inv's own to say"),
        ({"settings": ["hub_token=abc"]}, "--set hub_token: hub_token is a secret"),
        ({"adapter": ["capitals"]}, "--adapter capitals: not NAME=FOLDER"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(model: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        serve(model, **given)
    assert all_services() == []


@pytest.mark.usefixtures("stack")
def test_a_taken_port_and_a_taken_name_are_named(model: Path) -> None:
    port = serve(model).data["port"]
    with pytest.raises(UsageError, match=f"port {port} is taken by Tiny-1B"):
        serve(model, port=port, name="other")
    with pytest.raises(UsageError, match="Tiny-1B is served already"):
        serve(model)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match=r"port \d+ is taken$"):
            serve(model, port=other.getsockname()[1], name="other")


@pytest.mark.usefixtures("stack")
def test_an_adapter_of_another_model_is_refused_before_a_load(model: Path, adapter: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match=r"is no adapter of .*: .*q_proj is 4 x 3 in the model, 8 x 3 in the adapter"):
        serve(model, adapter=[f"a={adapter(out=8)}"])
    with pytest.raises(UsageError, match=r"the model has no layer model\.layers\.7\.mlp\.up_proj"):
        serve(model, adapter=[f"a={adapter(layer='model.layers.7.mlp.up_proj')}"])
    assert all_services() == []


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(("rank", "room"), [(2, 8), (33, 64)])
def test_vllm_is_started_with_room_for_the_adapters_and_counts(
    model: Path, adapter: Callable[..., Path], rank: int, room: int
) -> None:
    made = serve(model, backend="vllm", adapter=[f"capitals={adapter(rank_pattern={'q_proj': rank})}"])
    told = Path(made.data["log"]).read_text()
    assert "--infer_backend vllm" in told and f" --vllm_max_lora_rank {room}\n" in told
    assert "/whole_streams.py " in told and "/vllm_metrics.py" in told and "--vllm_enforce_eager true" in told


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("config", "settings", "why"),
    [
        ({"r": 1024}, [], "its rank is 1024, vLLM would be started for at most 512"),
        ({"r": 32}, ["vllm_max_lora_rank=16"], "its rank is 32, vLLM would be started for at most 16"),
        ({"use_dora": True}, [], "it is trained with DoRA"),
        ({"modules_to_save": ["lm_head"]}, [], "it holds whole modules: lm_head"),
        ({"bias": "all"}, [], "it has biases of its own"),
    ],
)
def test_an_adapter_that_vllm_does_not_take_is_refused_before_a_load(
    model: Path, adapter: Callable[..., Path], config: dict[str, Any], settings: list[str], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        serve(model, backend="vllm", adapter=[f"a={adapter(**config)}"], settings=settings)
    assert all_services() == []


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("backend", ["sglang", "lmdeploy"])
def test_an_adapter_that_ms_swift_would_leave_out_is_refused(
    model: Path, adapter: Callable[..., Path], backend: str
) -> None:
    for what, beside in ((model, [f"a={adapter()}"]), (adapter(), [])):
        with pytest.raises(UsageError, match=f"hands {backend} no adapter") as refused:
            serve(what, backend=backend, adapter=beside)
        assert "merge-lora" in refused.value.cure
    assert all_services() == []


def test_the_backends_of_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "this_machine", lambda: SimpleNamespace(gpus=[]))
    assert [module._stack(backend)[0].name for backend in ("transformers", "vllm")] == ["cpu", "vllm-cpu"]
    with pytest.raises(UsageError, match="sglang needs a GPU"):
        module._stack("sglang")


def test_a_head_that_its_base_comes_without_does_not_matter(model: Path, adapter: Callable[..., Path]) -> None:
    assert misfit(adapter(layer="bert.pooler.dense"), str(model)) is None


def test_of_a_model_that_is_not_here_the_names_are_compared(adapter: Callable[..., Path]) -> None:
    assert misfit(adapter(), "ORG/Tiny-1B") is None
    assert "it was trained on" in str(misfit(adapter(), "ORG/Large-7B"))


def test_a_run_is_served_by_what_its_last_step_made(runs: Path, model: Path, adapter: Callable[..., Path]) -> None:
    run = open_run(
        slug="infer-lora", lab="infer/lora", steps=[{"step": "train"}, {"step": "merge"}, {"step": "merged"}]
    )
    run.close("done")
    folder = next(runs.glob("infer-lora/*"))
    (folder / "train").mkdir()
    (folder / "train/last-checkpoint").symlink_to(adapter())
    found = target("infer/lora")
    assert (found.adapter, found.model, found.name) == (adapter(), str(model), "lora")
    (folder / "merge").mkdir()
    (folder / "merge/Tiny-1B").symlink_to(model)
    assert (target("infer/lora").model, target("infer/lora").adapter) == (str(folder / "merge/Tiny-1B"), None)


@pytest.mark.parametrize(
    ("given", "message"), [("nowhere", "nothing to serve"), (".", "holds no model and no adapter")]
)
def test_what_is_no_model_is_named(runs: Path, tmp_path: Path, monkeypatch: Any, given: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs
    with pytest.raises(UsageError, match=message):
        target(given)


def test_a_hubs_id_is_taken_as_it_is(runs: Path) -> None:
    assert runs
    assert target("Qwen/Qwen3-0.6B").words == ["--model", "Qwen/Qwen3-0.6B"]
