"""Nothing secret in what inv keeps or says: marked secrets go in every way that there is, and are looked for."""

from __future__ import annotations

import json
import stat
import subprocess

import pytest

from gpulab.common import causes, overwrite, redact
from gpulab.common.errors import UsageError
from gpulab.engines import service as services
from gpulab.engines.rank_logs import RankLogs
from gpulab.inside.machine.environment import environment
from gpulab.lab.lab import load_lab
from gpulab.lab.settings import parse_settings
from gpulab.plan.make import plan
from gpulab.plan.plan import PlanSpec
from gpulab.plan.script import LocalShell, as_script
from gpulab.records.service import ServiceRecord
from gpulab.runs import execute, recover
from gpulab.runs.request import LabRequest
from gpulab.stacks.stack import load_stack
from tests.records import killed, open_run

TWO_STEPS = """\
title: One step says a secret, the next one reads its log
upstream: examples/none
curriculum: none
stack: cpu
needs: {}
steps:
  say:
    run: /bin/sh say.sh
  look:
    run: /bin/sh look.sh {say}/../logs/say.log
rehearse: {}
"""
# Names and forms under which people keep secrets; MARK stands in each.
SECRETS = {
    "SSHPASS": "MARK", "OPENAI_KEY": "MARK", "GITHUB_PAT": "MARK", "MYSQL_PWD": "MARK", "MINIMAX_TOKEN": "MARK",
    "HF_TOKEN": "MARK", "WANDB_API_KEY": "MARK", "AWS_SECRET_ACCESS_KEY": "MARK", "PGPASSWORD": "MARK",
    "NEW_RELIC_LICENSE_KEY": "MARK", "VIDEO_TOKEN": "MARK", "VLLM_API_KEY": "MARK", "GPULAB_API_KEY": "MARK",
    "TORCH_AUTH": "MARK", "HF_TOKEN_2": "MARK", "MAX_TOKEN": "MARK", "NETRC": "machine h login me password MARK",
    "DATABASE_URL": "postgres://me:MARK@db/x", "REDIS": "redis://:MARK@db", "AMQP": "amqp://me:MA/RK@x@db/",
    "https_proxy": "http://me:MARK@proxy:3128", "HTTP_PROXY": "http://me:M/A@RK@proxy:3128",
    "HF_ENDPOINT": "https://hub/?token=MARK&x=1", "NCCL_ADDRESS": "Server=db;Password=MARK;",
    "TORCH_HUB": "https://MARK@hub/x", "DOCKER_HOST": "tcp://me:MARK@host:2375",
}  # fmt: skip
MARK = "5ecret-M4rk+r"
MATTERS = {"CUDA_VISIBLE_DEVICES": "0,1", "NCCL_DEBUG": "INFO", "NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1",
           "HF_HOME": "/data/hf", "MODELSCOPE_CACHE": "/data/ms", "no_proxy": "localhost",
           "TOKENIZERS_PARALLELISM": "false"}  # fmt: skip


def marked(form: str) -> str:
    """A secret's form with the mark in it, also where its halves are apart."""
    half = len(MARK) // 2
    return form.replace("MARK", MARK).replace("MA/RK", f"{MARK[:half]}/{MARK[half:]}").replace(
        "M/A@RK", f"{MARK[:half]}/@{MARK[half:]}"
    )  # fmt: skip


def tells(text: str) -> bool:
    """Whether the mark or a half of it is in a text."""
    half = len(MARK) // 2
    return MARK in text or MARK[:half] in text or MARK[half:] in text


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_of_the_environment_is_recorded_and_what_matters_is(name):
    kept = redact.recorded({**MATTERS, name: marked(SECRETS[name])})
    assert not tells(json.dumps(kept)), kept
    assert {k: kept.get(k) for k in MATTERS} == MATTERS


@pytest.mark.parametrize("name", [n for n in SECRETS if n != "NETRC"])
def test_the_value_of_a_secret_is_found_wherever_it_is_said(monkeypatch, name):
    value = marked(SECRETS[name])
    monkeypatch.setenv(name, value)
    said = redact.deep({"failures": [f"cannot reach {value}: 401"], "argv": ["swift", f"--x={value}", value]})
    assert not tells(json.dumps(said)), said


def test_a_password_in_an_address_is_known_without_the_address(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgres://me:{MARK}@db/x")
    assert redact.text(f"login of me with {MARK} failed") == "login of me with *** failed"


@pytest.mark.parametrize(
    "text",
    [
        "step.seed=1 keeps train/multi-gpu", "http://127.0.0.1:8000/v1 answers", "gpulab/cpu@sha256:00aa",
        "docker-image://a/b:tag@sha256:00", "eos_token=<|im_end|> max_new_tokens=32", "mail me@example.org",
        '{"max_tokens": 32, "model": "x"}', "git+https://host/a/b",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_left_alone(text):
    assert redact.text(text) == text


def test_a_short_value_a_number_and_a_folder_are_not_looked_for(monkeypatch):
    for name, value in {"A_KEY": "a", "B_TOKEN": "8000", "SSH_AUTH_SOCK": "/usr/bin"}.items():
        monkeypatch.setenv(name, value)
    assert redact.text("a run in /usr/bin on 8000") == "a run in /usr/bin on 8000"


def test_a_long_text_is_looked_through_at_once():
    assert redact.text("x" * 2_000_000) == "x" * 2_000_000


def test_secret_flags_are_blanked_in_a_command_line():
    words = ["swift", "sft", "--hub_token", "abc", "--max_new_tokens", "32", "--api_key=xyz", "--api-key", "EMPTY"]
    assert redact.argv(words) == [
        "swift", "sft", "--hub_token", "***", "--max_new_tokens", "32", "--api_key=***", "--api-key", "EMPTY",
    ]  # fmt: skip


def test_a_record_is_its_owners_alone_and_has_no_secret(runs, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", MARK)
    writer = open_run(failures=[f"401 for {MARK}"], steps=[{"step": "a", "env": {"A": MARK}, "argv": ["b", MARK]}])
    writer.close("failed")
    file = writer.folder / "run.json"
    assert MARK not in file.read_text() and file.read_text().count("***") == 3
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, writer.folder / "logs")] == [0o600, 0o700]


@pytest.mark.parametrize("block", range(1, 40))
def test_a_secret_is_overwritten_in_a_file_wherever_a_block_of_it_ends(tmp_path, monkeypatch, block):
    """One secret begins like another, and the file keeps its length: who follows it has read a part already."""
    monkeypatch.setattr(overwrite, "BLOCK", block)
    monkeypatch.setenv("OPENAI_KEY", MARK)
    monkeypatch.setenv("GITHUB_PAT", f"{MARK}-and-more")
    log = tmp_path / "step.log"
    log.write_text(f"10%\r{MARK} 完\nlogin: {MARK}-and-more\n{MARK}{MARK}")
    overwrite.secrets_in(log)
    stars = "*" * len(MARK)
    assert log.read_text() == f"10%\n{stars} 完\nlogin: {stars}*********\n{stars}{stars}"


def test_the_end_of_a_log_does_not_begin_with_the_rest_of_a_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", MARK)
    monkeypatch.setattr(causes, "LAST", len(f"{MARK[4:]}\nnext {MARK}\n"))
    log = tmp_path / "step.log"
    log.write_text(f"key: {MARK}\nnext {MARK}\n")
    assert causes.tail(log, 9) == ["next ***"]


def test_a_steps_log_has_no_secret_as_soon_as_the_step_has_ended(runs, write_lab, no_stack, monkeypatch):
    monkeypatch.setattr("gpulab.runs.spec.git_state", dict)
    folder = write_lab(text=TWO_STEPS)
    (folder / "say.sh").write_text('echo "hello $OPENAI_KEY"\n')
    (folder / "look.sh").write_text('grep -c "hello [*]" "$1"\n')
    monkeypatch.setenv("OPENAI_KEY", MARK)
    assert execute.run_lab(LabRequest("tiny", rehearse=True)).code == 0
    said = {log.name: log.read_text() for log in runs.glob("*/*/logs/*.log")}
    assert said == {"say.log": f"hello {'*' * len(MARK)}\n", "look.log": "1\n"}


def test_a_run_that_is_closed_by_another_inv_has_no_secret_in_its_logs(runs, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", MARK)
    folder = killed(open_run())
    (folder / "logs/server.log").write_text(f"hello {MARK}\n")
    recover.sweep()
    assert not tells((folder / "logs/server.log").read_text())


def test_a_service_that_is_stopped_leaves_no_secret_in_its_log(runs, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", MARK)
    service = ServiceRecord(name="s", model="m", backend="vllm", stack="vllm", port=1)
    service.write()
    service.log.write_text(f"hello {MARK}\n")
    services.end(service)
    assert not tells(service.log.read_text())


def test_the_merged_log_of_nodes_has_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_PAT", MARK)
    (tmp_path / "0").write_text(f"logging in with {MARK}\n")
    lines = RankLogs({0: tmp_path / "0"}, tmp_path / "merged").follow()
    assert lines == ["[0] logging in with ***"] and MARK not in (tmp_path / "merged").read_text()


@pytest.mark.parametrize(
    "setting",
    [
        f"train.hub_tokenn={MARK}", f"trian.seed={MARK}", f"train.hub_token={MARK}", f"train.hub_token:{MARK}",
        f"train.hub_token {MARK}=1", f"train.model=https://me:{MARK}@hub/x", f"train.model=https://hub/x?token={MARK}",
        f"https://me:{MARK}@hub/x=1", f"train.model=me-{MARK}", f"train.system=--api_key={MARK}",
    ],
)  # fmt: skip
def test_a_secret_in_a_setting_is_refused_and_not_repeated(write_lab, monkeypatch, setting):
    monkeypatch.setenv("OPENAI_KEY", MARK)
    with pytest.raises(UsageError) as caught:
        parse_settings([setting], load_lab(write_lab()))
    assert not tells(caught.value.message + caught.value.cure), caught.value.message
    assert caught.value.cure


def test_a_setting_that_only_sounds_like_a_secret_is_taken(write_lab):
    settings = ["train.model_author=me", "chat.max_new_tokens=8", "train.system=a=b"]
    assert parse_settings(settings, load_lab(write_lab())) == {
        "train": {"model_author": "me", "system": "a=b"}, "chat": {"max_new_tokens": "8"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sft train.yaml", f"sft train.yaml --hub_token {MARK}"),
        ("sft train.yaml", f"sft train.yaml --dataset https://me:{MARK}@host/x"),
        ("makes: [logging.jsonl]", f"env: {{SOME_TOKEN: {MARK}}}"),
        ("train: {max_steps: 3}", f"train: {{hub_token: {MARK}}}"),
        ("train: {max_steps: 3}", f"train: {{env: {{SOME_PROXY: 'http://me:{MARK}@host'}}}}"),
    ],
)
def test_a_lab_with_a_secret_is_refused_and_not_repeated(write_lab, old, new):
    with pytest.raises(UsageError, match="holds a secret") as caught:
        load_lab(write_lab((old, new)))
    assert not tells(caught.value.message + caught.value.cure)


def test_a_labs_yaml_with_a_secret_is_refused(write_lab):
    folder = write_lab()
    with (folder / "train.yaml").open("a") as config:
        config.write(f"hub_token: {MARK}\n")
    with pytest.raises(UsageError, match=r"train.yaml:3: --hub_token holds a secret"):
        load_lab(folder)


def test_a_script_names_a_secret_of_the_environment_and_runs_with_it(write_lab, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", MARK)
    lab = load_lab(write_lab(("makes: [logging.jsonl]", f'env: {{GREETING: "it is {MARK}"}}')))
    script = as_script(LocalShell(plan(PlanSpec(lab=lab, profile="gpu", stack=load_stack("cpu")), tmp_path / "run")))
    assert MARK not in script
    line = next(line for line in script.splitlines() if line.startswith("GREETING="))
    said = subprocess.run(
        ["bash", "-c", line.split(" swift ")[0] + ' && printf %s "$GREETING"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"it is {MARK}"


def test_the_doctor_tells_no_password_of_a_proxy(monkeypatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setenv("https_proxy", f"http://me:{MARK[:4]}/@{MARK[4:]}@proxy:3128")
    assert environment()["variables"]["https_proxy"] == "http://***@proxy:3128"
