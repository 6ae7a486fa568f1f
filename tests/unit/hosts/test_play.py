"""gpulab/hosts/play.py, recap.py, provision.py: a real ansible-runner on this machine, without ssh."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.hosts.inventory import load_hosts
from gpulab.hosts.play import Played, Wish, check_tags, play
from gpulab.hosts.play_recap import HostRecap, PlayRecap
from gpulab.hosts.progress import Progress, table
from gpulab.hosts.trust import trust
from tests.unit.hosts.conftest import Sshd
from tests.wait import wait_until

BOOK = """
- name: A play
  hosts: all
  gather_facts: false
  tasks:
    - name: Ensure the file is there
      ansible.builtin.copy:
        dest: "{folder}/{{{{ inventory_hostname }}}}"
        content: "as it should be\\n"
        mode: "0644"
      notify: Tell of it
    - name: Ensure a loop is carried out
      ansible.builtin.file:
        path: "{folder}/{{{{ inventory_hostname }}}}-{{{{ item }}}}"
        state: touch
        access_time: preserve
        modification_time: preserve
        mode: "0600"
      loop: [one, two]
    - name: Ensure trouble is rescued
      block:
        - name: Fail, and be rescued
          ansible.builtin.command: {{argv: ["false"]}}
      rescue:
        - name: Go on
          ansible.builtin.debug: {{msg: rescued}}
    - name: Ensure one host fails
      ansible.builtin.fail:
        msg: "Broken. Cure: mend it."
      when: inventory_hostname == "bad"
  handlers:
    - name: Tell of it
      ansible.builtin.debug: {{msg: told}}
      changed_when: true
"""


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    """Two hosts that work and one that fails, all of them this machine; `dead` does not answer."""
    (tmp_path / "site.yml").write_text(BOOK.format(folder=tmp_path))
    hosts = "".join(f"{name} ansible_connection=local\n" for name in ("good", "fine", "bad"))
    dead = "dead ansible_host=127.0.0.1 ansible_port=1 ansible_ssh_retries=0\n"
    (tmp_path / "gpus.ini").write_text(f"[gpu]\n{hosts}{dead}[all:vars]\nansible_python_interpreter=/usr/bin/python3\n")
    return Wish(str(tmp_path / "gpus.ini"), playbook=tmp_path / "site.yml")


def carry_out(wish: Wish) -> Played:
    return play(wish, load_hosts(wish.hosts), "test", lambda _: None)


def test_each_host_ends_in_its_state_and_the_failing_ones_say_why(wish: Wish) -> None:
    seen: list[str] = []
    played = play(wish, load_hosts(wish.hosts), "test", lambda recap: seen.append(recap.hosts["good"].task))
    states = {name: host.state for name, host in played.recap.hosts.items()}
    assert states == {"good": "changed", "fine": "changed", "bad": "failed", "dead": "unreachable"}
    failures = played.trouble()
    assert [line.split(":")[0] for line in failures] == ["bad", "dead"]
    assert "Broken. Cure: mend it." in failures[0]
    assert "nothing answers on 127.0.0.1 port 1 (cure: start sshd" in failures[1]
    assert "Ensure the file is there" in seen
    assert "Fail, and be rescued" in played.log.read_text()
    assert not (played.log.parent / "command").exists(), "the runner's dump of the environment"
    assert played.recap.slowest(1)[0]["seconds"] >= 0

    again = carry_out(wish)
    assert again.recap.hosts["good"].data() == {"state": "converged", "ok": again.recap.hosts["good"].ok, "changed": 0}
    assert again.recap.changes == []


def test_check_mode_tells_what_differs_and_changes_nothing(wish: Wish, tmp_path: Path) -> None:
    carry_out(wish)
    (tmp_path / "good").write_text("edited by hand\n")
    checked = carry_out(Wish(wish.hosts, check=True, limit="good,fine", playbook=wish.playbook))
    (change,) = checked.recap.changes
    assert (change.host, change.task) == ("good", "Ensure the file is there")
    assert change.differs[1:] == ["-edited by hand", "+as it should be"]
    assert (tmp_path / "good").read_text() == "edited by hand\n"


def test_a_playbook_that_is_none_ends_with_ansibles_own_words(wish: Wish) -> None:
    wish.playbook.write_text("- hosts: all\n  tasks:\n    - no_such_module_at_all:\n")
    played = carry_out(wish)
    assert played.status != 0
    assert "no_such_module_at_all" in played.trouble()[0]


def test_an_unknown_host_key_names_its_cure(sshd: Sshd) -> None:
    (sshd.folder / "site.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.ping: }]\n")
    wish = Wish(str(sshd.inventory()), playbook=sshd.folder / "site.yml")
    (failure,) = carry_out(wish).trouble()
    assert f"its host key is not known yet (cure: inv trust --hosts {wish.hosts})" in failure


def test_paths_are_seen_from_the_repository_whoever_asks(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of known hosts in ansible.cfg is such a path."""
    trust(str(sshd.inventory()), limit="", yes=True, forget=[])
    (sshd.folder / "site.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.ping: }]\n")
    inventory = sshd.inventory(known_hosts=Path(os.path.relpath(sshd.known_hosts, ROOT)))
    monkeypatch.chdir(sshd.folder)
    assert carry_out(Wish(str(inventory), playbook=sshd.folder / "site.yml")).trouble() == []


def test_ctrl_c_ends_ansible_and_all_it_started(wish: Wish, tmp_path: Path) -> None:
    mark = tmp_path / "started"
    wish.playbook.write_text(
        "- hosts: good\n  gather_facts: false\n  tasks:\n"
        f"    - ansible.builtin.shell: touch {mark}; sleep 600\n"
    )  # fmt: skip
    children: list[psutil.Process] = []

    def interrupt() -> None:
        wait_until(mark.exists, "the task")
        children.extend(psutil.Process().children(recursive=True))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    played = carry_out(wish)
    thread.join()
    assert played.interrupted
    assert played.trouble() == ["interrupted"]
    assert played.recap.hosts["good"].state == "interrupted", "not running any more"
    ansible = [
        p
        for p in children
        if p.is_running() and p.status() != psutil.STATUS_ZOMBIE and "ansible" in " ".join(p.cmdline())
    ]
    assert ansible == []


def test_a_tag_that_no_role_has_is_refused() -> None:
    check_tags("base,docker_engine")
    with pytest.raises(UsageError, match="--tags bsae") as error:
        check_tags("docker_engine,bsae")
    assert "base" in error.value.cure


def test_a_host_that_never_answered_is_not_forgotten() -> None:
    recap = PlayRecap({"a": HostRecap(), "b": HostRecap()})
    recap.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}, "dark": {}, "failures": {}}})
    assert recap.hosts["b"].state == "waiting"
    assert recap.hosts["a"].state == "converged"


LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)"


def event(kind: str, **data: object) -> dict[str, object]:
    return {"event": kind, "event_data": {"host": "a", "role": "packages", "task": "Find the lists", **data}}


def test_who_waits_says_for_what_and_how_long() -> None:
    now = [100.0]
    recap = PlayRecap({"a": HostRecap()}, clock=lambda: now[0])
    recap.take(event("runner_on_start"))
    recap.take(event("runner_retry", res={"rc": 100, "msg": "non-zero return code", "stderr": LOCKED}))
    now[0] = 142.0
    shown = [next(iter(column.cells)) for column in table(recap).columns]
    assert "42" in shown
    assert str(shown[-1]) == "waits: process 4711 (apt-get) holds /var/lib/apt/lists/lock"
    recap.take(event("runner_on_ok", res={}))
    assert str(next(iter(table(recap).columns[-1].cells))) == "Find the lists"


def test_what_waits_is_said_once_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    recap = PlayRecap({"a": HostRecap()})
    recap.take(event("runner_on_start"))
    with Progress() as progress:
        for _ in range(2):
            recap.take(event("runner_retry", res={"stderr": LOCKED}))
            progress.watch(recap)
    told = capsys.readouterr()
    assert (told.out + told.err).count("a waits at packages: process 4711") == 1


@pytest.mark.parametrize(
    ("words", "cause", "cure"),
    [
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "its disk is full", "free some space"),
        ("OSError: [Errno 28] No space left on device", "its disk is full", "free some space"),
        ("OSError: [Errno 30] Read-only file system: '/etc/.ansible_tmp'", "is read-only", "findmnt"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "it has no python3", "apt-get install -y python3"),
        ("Error while resolving value for 'argv': 'my_mirror' is undefined", "'my_mirror' is undefined", "group_vars"),
        (f"The repositories cannot be used: {LOCKED} Cure: see that the host reaches it", "4711 (apt-get)", "wait"),
    ],
)
def test_a_modules_own_words_become_the_cause_and_its_true_cure(words: str, cause: str, cure: str) -> None:
    recap = PlayRecap({"a": HostRecap()})
    recap.take(event("runner_on_failed", res={"msg": words}))
    (line,) = recap.failures()
    assert cause in line and cure in line
    assert "\n" not in line


def test_drift_shows_no_command_of_a_task_that_only_looks() -> None:
    result = {"changed": True, "invocation": {"module_args": {"argv": ["grep", "-c", "580", "/var/run/cdi"]}}}
    recap = PlayRecap({"a": HostRecap()})
    recap.take(event("runner_on_ok", res=result))
    assert recap.changes[0].differs == []
