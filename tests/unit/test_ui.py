"""`inv ui`: which page, in which stack, whom a chat asks, and that what the page has started ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.plan.container import run_words
from gpulab.runs import page, ui
from gpulab.runs.endpoint import Endpoint
from gpulab.runs.shell import placed, workplace
from gpulab.runs.ui import open_ui, web_ui
from tests.wait import wait_until


@pytest.fixture
def started(monkeypatch):
    """What would have been started, instead of starting it."""
    calls = []
    monkeypatch.setattr(page, "carry_out", lambda *call: calls.append(call) or 0)
    return calls


def test_without_a_gpu_it_is_the_page_of_training_in_the_cpu_stack_on_loopback(started):
    done = open_ui("", "", "", "", "", 0, 0, "zh")
    ((spec, argv, port),) = started
    assert (spec.stack.name, done.data["port"]) == ("ui-cpu", port)
    assert argv[2] == "web-ui"
    assert argv[3:] == ["--server_name", "127.0.0.1", "--server_port", str(port), "--lang", "zh"]


def test_in_a_container_the_port_is_published_to_loopback_alone(tmp_path):
    spec = workplace("ui", "docker", "", "", 0)
    plan, command = placed(spec, tmp_path / "shell-ui" / "1", web_ui(spec, 7865, "en"), 7865)
    place = spec.engine._place(plan, command)
    words = run_words(command, plan, replace(place, image="image:tag"))
    assert words[words.index("--publish") + 1] == "127.0.0.1:7865:7865"
    assert words[words.index("--server_name") + 1] == spec.engine.network.bind != "127.0.0.1"


def test_a_chat_asks_what_is_served_as_its_own_name_while_it_is_served(started, monkeypatch):
    seen = []

    @contextmanager
    def reached(given):
        seen.append(given)
        yield Endpoint("http://127.0.0.1:8123/v1", "capitals", "capitals", True, "a model")
        seen.append("left")

    monkeypatch.setattr(ui, "reached", reached)
    done = open_ui("capitals", "", "", "", "", 0, 0, "en")
    ((_, argv, _),) = started
    assert argv[2:7] == ["app", "--model", "capitals", "--base_url", "http://127.0.0.1:8123/v1"]
    assert seen == ["capitals", "left"]
    assert done.data["as"] == "capitals"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lang": "fr"}, "--lang fr"),
        ({"stack": "cpu"}, "cpu has no gradio"),
        ({"chat": "x", "engine": "docker"}, "runs on this machine"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(started, given, message):
    usual = {"chat": "", "stack": "", "engine": "", "hosts": "", "limit": "", "gpus": 0, "port": 0, "lang": "en"}
    with pytest.raises(UsageError, match=message) as refused:
        open_ui(**(usual | given))
    assert refused.value.cure
    assert started == []


def test_a_chat_is_refused_where_a_key_would_be_needed(started, monkeypatch):
    monkeypatch.setenv("GPULAB_API_KEY", "secret")
    with pytest.raises(UsageError, match="sends no key") as refused:
        open_ui("capitals", "", "", "", "", 0, 0, "en")
    assert "secret" not in refused.value.message + refused.value.cure
    assert started == []


def test_a_training_that_the_page_has_started_in_a_session_of_its_own_ends_with_it(monkeypatch):
    trainings = []

    def carry_out(*_):
        code = "import time; print('up', flush=True); time.sleep(600)"
        made = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
        made.stdout.readline()
        trainings.append(made)
        return 130

    monkeypatch.setattr(page, "carry_out", carry_out)
    assert open_ui("", "", "", "", "", 0, 0, "en").code == 130
    wait_until(lambda: trainings[0].poll() is not None, "the training ends", 20)
    trainings[0].stdout.close()
    assert "GPULAB_RUN" not in os.environ


def test_the_page_comes_up_behind_a_proxy_and_where_it_answers_late(tmp_path):
    """gradio asks its own page once, with a patience of 3 s and through the environment's proxy."""
    stub = tmp_path / "gradio"
    stub.mkdir()
    (stub / "__init__.py").write_text("")
    (stub / "networking.py").write_text("def url_ok(url): return False\n")
    (tmp_path / "swift").mkdir()
    (tmp_path / "swift/__init__.py").write_text("")
    (tmp_path / "swift/ui.py").write_text(
        "import os\nfrom gradio import networking\n"
        "def webui_main(words): print(words, networking.url_ok(''), os.environ['no_proxy'])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NO_PROXY": "example.org"}
    pages = ROOT / "gpulab/inside/pages.py"
    done = subprocess.run(
        [sys.executable, pages, "web-ui", "--lang", "en"], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['--lang', 'en'] True example.org,127.0.0.1,localhost"
