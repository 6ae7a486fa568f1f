"""What inv eval and inv bench ask: found by name, address or run, and asked for one answer before anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.ports import free_port
from gpulab.common.yamlfile import load_mapping
from gpulab.records.service import ServiceRecord, all_services
from gpulab.runs import serve, serve_target, served
from gpulab.runs.bench import bench
from gpulab.runs.endpoint import KEY, NotServed, reached
from gpulab.runs.evaluate import OWN, chosen, evaluate
from gpulab.stacks import stack as stacks
from gpulab.stacks.stack import load_stack
from tests.openai_server import serving


def well(asked: dict[str, Any]) -> str:
    return "Melvik"


@pytest.fixture(autouse=True)
def nothing_else(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs
    monkeypatch.delenv(KEY, raising=False)


@pytest.mark.parametrize("tail", ["/v1", "/v1/", "/v1/chat/completions", ""])
def test_an_address_is_asked_as_its_only_model(tail: str) -> None:
    with serving(well) as url, reached(url.removesuffix("/v1") + tail) as found:
        assert (found.url, found.model, found.here) == (url, "tiny", True)


def test_of_several_models_one_has_to_be_named() -> None:
    with serving(well, ("base", "lora")) as url:
        with pytest.raises(UsageError, match="2 models") as error, reached(url):
            pass
        assert "base, lora" in error.value.cure
        with reached(url, "lora") as found:
            assert found.model == "lora"


def test_a_dead_or_failing_server_is_refused_before_anything_is_asked(runs: Path) -> None:
    def evaluated(url: str) -> Outcome:
        return evaluate(url, "choice", 0, "tiny", 8, "modelscope", [])

    with pytest.raises(UsageError, match="completes no chat"):
        evaluated(f"http://127.0.0.1:{free_port(18000)}/v1")
    with serving(lambda asked: 500) as url, pytest.raises(UsageError, match="completes no chat"):
        evaluated(url)
    assert not list(runs.glob("*/*/run.json")), "there is no run, and so no score"


def test_a_server_that_wants_a_key_gets_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(well, key="sesame") as url:
        with pytest.raises(UsageError) as error, reached(url, "tiny"):
            pass
        assert KEY in error.value.cure
        monkeypatch.setenv(KEY, "sesame")
        with reached(url, "tiny") as found:
            assert found.model == "tiny"


def service(url: str) -> ServiceRecord:
    made = ServiceRecord(
        name="tuned", model="/models/tiny", adapters={"lora": "/a"}, backend="transformers", stack="cpu",
        port=int(url.split(":")[2].split("/")[0]),
    )  # fmt: skip
    made.write()
    return made


def test_a_service_is_asked_by_its_name_or_as_one_of_its_adapters() -> None:
    with serving(well) as url:
        service(url)
        with reached("tuned") as found:
            assert (found.url, found.model) == (url, "tuned")
        with reached("tuned", "lora") as found:
            assert found.model == "lora"
        with pytest.raises(UsageError, match="serves no"), reached("tuned", "lore"):
            pass
        with pytest.raises(UsageError, match="--set"), reached("tuned", settings=["max_new_tokens=8"]):
            pass


def test_a_run_is_served_for_so_long_and_stopped_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_target, "target", lambda given: serve_target.Target("/m", None, "quickstart"))
    monkeypatch.setattr(served, "stop", lambda name, every: all_services()[0].forget())
    with serving(well) as url:
        monkeypatch.setattr(serve, "serve", lambda *given, **more: Outcome({"name": service(url).name}))
        with pytest.raises(ZeroDivisionError), reached("quickstart") as found:
            assert found.name == "quickstart" and len(all_services()) == 1
            raise ZeroDivisionError
    assert all_services() == []


def test_a_run_whose_server_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_target, "target", lambda given: serve_target.Target("/m", None, "quickstart"))
    monkeypatch.setattr(serve, "serve", lambda *given, **more: Outcome(failures=["out of memory"]))
    with pytest.raises(NotServed), reached("quickstart"):
        pass
    assert evaluate("quickstart", "qa", 0, "", 8, "modelscope", []).failures == ["out of memory"]


@pytest.fixture
def two_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack of EvalScope, which has no more of it than the names of two benchmarks."""
    monkeypatch.setattr(stacks, "STACKS", tmp_path / "stacks")
    venv = load_stack("eval").venv
    index = venv / "lib/python3.11/site-packages/evalscope/benchmarks/_index.json"
    index.parent.mkdir(parents=True)
    index.write_text('{"gsm8k": "evalscope.gsm8k", "general_mcq": "evalscope.general_mcq"}', encoding="utf-8")
    (venv / "complete").write_text(str(venv.resolve()), encoding="utf-8")


@pytest.mark.usefixtures("two_benchmarks")
@pytest.mark.parametrize(("name", "meant"), [("gms8k", "gsm8k"), ("choise", "choice")])
def test_a_benchmark_that_there_is_not_is_refused_before_a_model_is_served(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "serve", lambda *given, **more: pytest.fail("it serves"))
    with pytest.raises(UsageError, match=f"no benchmark '{name}'") as error:
        evaluate("quickstart", f"choice,{name}", 0, "", 8, "modelscope", [])
    assert f"did you mean {meant}" in error.value.cure


@pytest.mark.usefixtures("two_benchmarks")
def test_own_sets_come_with_their_folder_and_others_by_their_names() -> None:
    names, arguments = chosen(["choice", "gsm8k"])
    assert names == ["general_mcq", "gsm8k"] and set(arguments) == {"general_mcq"}
    folder = Path(arguments["general_mcq"]["local_path"])
    assert (folder / f"{arguments['general_mcq']['subset_list'][0]}_val.jsonl").is_file()
    with pytest.raises(UsageError, match="twice"):
        chosen(["choice", "general_mcq"])


@pytest.mark.parametrize("name", load_mapping(OWN))
def test_every_own_set_has_its_questions_and_their_pictures(name: str) -> None:
    _, arguments = chosen([name])
    (about,) = arguments.values()
    files = [f for subset in about["subset_list"] for f in Path(about["local_path"]).glob(f"{subset}*.jsonl")]
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert rows
    assert all((OWN.parent / row["image_1"]).is_file() for row in rows if "image_1" in row), "as `inv eval` runs it"


@pytest.mark.parametrize("levels", ["", "0", "1,1", "1,two", "-1"])
def test_a_concurrency_that_is_none_is_refused(levels: str) -> None:
    with pytest.raises(UsageError, match="--concurrency"):
        bench("nobody", levels, 0, 8, 8, "", [])


def test_a_dead_server_is_no_load_test(runs: Path) -> None:
    with pytest.raises(UsageError, match="completes no chat"):
        bench(f"http://127.0.0.1:{free_port(18000)}/v1", "1", 0, 8, 8, "tiny", [])
    assert not list(runs.glob("*/*/run.json"))
