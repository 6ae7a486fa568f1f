"""The local engine with real processes: servers, dead servers, deadlines, taken ports, nothing left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from gpulab.common.ports import free_port, hold
from gpulab.common.processes import MARK, belonging
from gpulab.engines.local import LocalBackend
from gpulab.engines.progress import Watch
from gpulab.engines.session import StepSession
from gpulab.lab.step import Ready
from gpulab.plan.plan import Command, Plan
from gpulab.stacks.stack import load_stack

# an OpenAI-compatible server in a few lines: it stands in for swift deploy where only the engine is tested
SERVER = """
import http.server, json, sys
class Chat(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Chat).serve_forever()
"""


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "logs").mkdir()

    def make(*commands: Command) -> StepSession:
        def replan(ports: dict[str, int]) -> Plan:
            moved = [
                Command(c.step, (*c.argv[:-1], str(ports[c.step])), c.cwd, c.out, c.env, ready=c.ready,
                        port=ports[c.step], until=c.until) if c.port else c for c in commands
            ]  # fmt: skip
            return Plan(None, "cpu", load_stack("cpu"), "m", tmp_path, tuple(moved))

        stack = load_stack("cpu")
        plan = Plan(None, "cpu", stack, "m", tmp_path, commands)
        return StepSession(LocalBackend(stack), plan, replan, Watch(Console(quiet=True), [c.step for c in commands]))

    return make


def step(tmp_path: Path, code: str, name: str = "work") -> Command:
    return Command(name, (sys.executable, "-c", code), tmp_path, tmp_path / name, {})


def server(tmp_path: Path, code: str = SERVER, within: float = 20, until: str = "work") -> Command:
    port = free_port(18000)
    return Command("serve", (sys.executable, "-c", code, str(port)), tmp_path, tmp_path / "serve", {},
                   ready=Ready(chat="m", within=within), port=port, until=until)  # fmt: skip


def test_an_exit_status_and_the_output_are_kept(engine, tmp_path):
    made = engine(step(tmp_path, "print('to the log'); raise SystemExit(3)"))
    with made.closing():
        assert made.carry_out("work").exit == 3
    assert made.log("work").read_text() == "to the log\n"


def test_a_server_is_up_for_its_users_and_stopped_after_the_last(engine, tmp_path):
    made = engine(server(tmp_path), step(tmp_path, "pass"))
    with made.closing():
        assert made.carry_out("serve").failure is None
        assert made.carry_out("work").exit == 0
        assert belonging(tmp_path)
        made.let_go("work")
        assert not belonging(tmp_path)


def test_a_server_that_dies_while_needed_fails_the_step_that_needs_it(engine, tmp_path):
    dying = SERVER.replace(".serve_forever()", ".handle_request()")  # gone after the readiness request
    made = engine(server(tmp_path, dying), step(tmp_path, "import time; time.sleep(600)"))
    with made.closing():
        assert made.carry_out("serve").failure is None
        assert made.carry_out("work").failure == "the server serve ended while work needed it"
    assert not belonging(tmp_path)


def test_a_server_that_ends_before_it_answers_is_a_failure(engine, tmp_path):
    made = engine(server(tmp_path, "raise SystemExit(4)"))
    with made.closing():
        ended = made.carry_out("serve")
    assert (ended.exit, ended.failure) == (4, "the server serve ended before it answered")


def test_a_server_that_never_answers_meets_its_deadline(engine, tmp_path):
    made = engine(server(tmp_path, "import time; time.sleep(600)", within=1))
    with made.closing():
        assert made.carry_out("serve").failure == "serve did not answer within 1 s"
    assert not belonging(tmp_path)


def test_a_port_taken_in_the_meantime_is_replaced(engine, tmp_path):
    command = server(tmp_path)
    made = engine(command)
    with socket.socket() as other, made.closing():
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", command.port))
        other.listen()
        assert made.carry_out("serve").failure is None
        assert made.plan.command("serve").port != command.port


def test_a_port_that_another_runs_server_is_about_to_take_is_replaced(engine, tmp_path):
    command = server(tmp_path)
    made = engine(command)
    with hold(command.port), made.closing():
        assert made.carry_out("serve").failure is None
        assert made.plan.command("serve").port != command.port


def test_a_program_that_is_not_there_is_a_failure_not_a_crash(engine, tmp_path):
    made = engine(Command("work", ("/no/such/program",), tmp_path, tmp_path / "work", {}))
    with made.closing():
        assert "can't be started" in made.carry_out("work").failure


def test_an_interrupt_leaves_no_process_not_even_those_of_a_new_session(engine, tmp_path):
    spawn = (
        "import subprocess, sys, os, signal; "
        "subprocess.Popen(['sleep', '600'], start_new_session=True); "
        "os.kill(os.getppid(), signal.SIGINT); import time; time.sleep(600)"
    )
    before = set(psutil.Process().children(recursive=True))
    made = engine(server(tmp_path, until="never"), step(tmp_path, spawn))
    with pytest.raises(KeyboardInterrupt), made.closing():
        made.carry_out("serve")
        made.carry_out("work")
    assert not belonging(tmp_path)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]


def together(tmp_path: Path, *codes: str) -> list[Command]:
    """The nodes of a spread step, one for each piece of code."""
    return [
        Command(
            "nodes", (sys.executable, "-u", "-c", code), tmp_path, tmp_path / "nodes", {}, rank=rank, node=f"host{rank}"
        )
        for rank, code in enumerate(codes)
    ]


def test_nodes_run_side_by_side_and_their_lines_carry_the_rank(engine, tmp_path):
    meet = "import pathlib, time\nown, other = pathlib.Path('{0}'), pathlib.Path('{1}'); own.touch()\n"
    meet += "while not other.exists(): time.sleep(0.01)\nprint('met')"
    made = engine(*together(tmp_path, meet.format("a", "b"), meet.format("b", "a")))
    with made.closing():
        assert made.carry_out("nodes").exit == 0
    assert sorted(made.log("nodes").read_text().splitlines()) == ["[0] met", "[1] met"]
    assert made.log("nodes-1").read_text() == "met\n"


def test_the_first_node_that_fails_is_named_and_ends_the_others(engine, tmp_path):
    made = engine(*together(tmp_path, "import time; time.sleep(600)", "print('why'); raise SystemExit(7)"))
    with made.closing():
        ended = made.carry_out("nodes")
    assert ended.failure == "node 1 (host1) of nodes ended with exit 7; the others were stopped"
    assert ended.log.read_text() == "why\n"
    assert not belonging(tmp_path)


def test_a_killed_node_is_named_before_those_that_failed_for_want_of_it(engine, tmp_path):
    kill = "import os, pathlib, signal; pathlib.Path('gone').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    miss = "import pathlib\nwhile not pathlib.Path('gone').exists(): pass\nraise SystemExit('the other node is gone')"
    made = engine(*together(tmp_path, miss, kill))
    with made.closing():
        assert made.carry_out("nodes").failure.startswith("node 1 (host1) of nodes ended with exit -9")


@pytest.mark.parametrize("said", ["traceback : Signal 9 (SIGKILL) received by PID 47", "exitcode  : 247 (pid: 47)"])
def test_the_node_whose_rank_was_killed_is_named_though_its_launcher_ends_as_any_other(engine, tmp_path, said):
    """247 where torchrun started the `swift` command, which passes the end of its own process on so."""
    launcher = f"print({said!r}); raise SystemExit(1)"
    made = engine(*together(tmp_path, "raise SystemExit(1)", launcher))
    with made.closing():
        failure = made.carry_out("nodes").failure
    assert failure.startswith("node 1 (host1) of nodes ended with exit 1, a rank of it by SIGKILL; after that node 0")


def test_a_node_that_failed_of_itself_is_named_before_one_that_lost_its_peer(engine, tmp_path):
    """On a busy host the news of the consequence may come first: the cause ends while that one's end is looked at."""
    lost = "print('RuntimeError: [gloo/transport/tcp/pair.cc:556] Connection closed by peer [10.87.3.11]:4231')\n"
    lost += "import pathlib; pathlib.Path('gone').touch(); raise SystemExit(1)"
    cause = "import pathlib\nwhile not pathlib.Path('gone').exists(): pass\n"
    cause += "print('OSError: [Errno 28] No space left on device'); import time; time.sleep(0.5); raise SystemExit(1)"
    made = engine(*together(tmp_path, lost, cause))
    with made.closing():
        ended = made.carry_out("nodes")
    assert ended.failure.startswith("node 1 (host1) of nodes ended with exit 1; after that node 0 (host0) with exit 1")
    assert "No space left" in ended.log.read_text()


def test_silent_nodes_are_asked_whether_they_reach_each_other(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("gpulab.engines.node_group.QUIET", 0.5)
    cut_off = lambda _, __, commands: f"{commands[1].node} does not reach {commands[0].node}"  # noqa: E731
    monkeypatch.setattr(LocalBackend, "apart", cut_off)
    made = engine(*together(tmp_path, "import time; time.sleep(600)", "import time; time.sleep(600)"))
    with made.closing():
        ended = made.carry_out("nodes")
    assert ended.failure == "host1 does not reach host0; the nodes of nodes were stopped"
    assert not belonging(tmp_path)


def test_nodes_that_say_nothing_meet_a_deadline_that_is_named(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("gpulab.engines.node_group.SILENCE", 1.0)
    made = engine(*together(tmp_path, "import time; time.sleep(600)", "import time; time.sleep(600)"))
    with made.closing():
        assert made.carry_out("nodes").failure == "no node of nodes said a word for 1 s"
    assert not belonging(tmp_path)


def test_a_session_that_cannot_be_made_leaves_nothing_of_what_it_began(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()

    def broken(self, plan):
        subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(plan.run)}, start_new_session=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalBackend, "lay_ground", broken)
    plan = Plan(None, "cpu", load_stack("cpu"), "m", tmp_path, (step(tmp_path, "pass"),))
    with pytest.raises(KeyboardInterrupt):
        StepSession(LocalBackend(plan.stack), plan, lambda _: plan, Watch(Console(quiet=True), ["work"]))
    assert not belonging(tmp_path)


def test_runs_that_begin_at_once_do_not_meet_their_ranks_on_one_port(monkeypatch):
    """Minutes lie between the choice and the first rank that listens: another run must not choose the same."""
    backend, chosen = LocalBackend(load_stack("cpu")), []
    for pid in (4711, 4712, 4713):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        chosen.append(int(backend.rendezvous()))
    assert len(set(chosen)) == 3
    assert all(29400 <= port <= 29600 for port in chosen)
