"""The verbs as a user types them, on real hosts; only the role base: the roles have scenarios of their own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testbed import Node
from tests.testbed.bastion import bastion
from tests.testbed.conftest import Lab, lab
from tests.testbed.paths import REPO
from tests.testbed.standin.repository import Repository
from tests.wait import wait_until

RIGHT_PASSWORD = "the-right-password"  # noqa: S105 (of a user of the testbed, see images.py)
BASE = ("--tags", "base")


@pytest.fixture(scope="module")
def three(repository: Repository) -> Iterator[Lab]:
    suites = {"one": "bookworm", "two": "trixie", "three": "jammy"}
    nodes = [Node(name, suite, shares=True) for name, suite in suites.items()]
    with lab("verbs-test", nodes, repository) as made:
        yield made


def arguments(verb: str, inventory: Path, *more: str) -> list[str]:
    return [sys.executable, str(REPO / "gpulab" / "__main__.py"), verb, "--hosts", str(inventory), "--json", *more]


def inv(verb: str, inventory: Path, *more: str, typed: str = "") -> tuple[int, dict[str, Any]]:
    """Exit code and the JSON object of a verb; without a terminal, so that a password is read from what is typed."""
    done = subprocess.run(
        arguments(verb, inventory, *more),
        cwd=REPO, input=typed, capture_output=True, text=True, start_new_session=True, timeout=600,
    )  # fmt: skip
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {name: host["state"] for name, host in answer["hosts"].items()}


def test_unknown_keys_are_refused_until_they_are_trusted(three: Lab, tmp_path: Path) -> None:
    strange = {**three.variables, "ansible_ssh_common_args": f"-o UserKnownHostsFile={tmp_path}/known_hosts"}
    inventory = three.bed.inventory(tmp_path / "gpus.ini", variables=strange)
    code, answer = inv("hosts", inventory)
    assert code == 1
    assert {host["problem"] for host in answer["hosts"]} == {"its host key is not known yet"}

    code, answer = inv("trust", inventory, "--yes")
    assert code == 0
    assert len({host["fingerprints"][0] for host in answer["hosts"]}) == 3
    assert (tmp_path / "known_hosts").read_text().split()[2] in three.bed.known_hosts.read_text()

    code, answer = inv("hosts", inventory)
    assert code == 0
    assert [host["system"] for host in answer["hosts"]] == ["debian 12", "debian 13", "ubuntu 22.04"]
    assert all(host["gpus"] for host in answer["hosts"])


def test_two_at_once_the_second_says_who_and_ctrl_c_ends_the_first(three: Lab) -> None:
    first = subprocess.Popen(
        arguments("provision", three.inventory, *BASE), cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: worked_on(three), "a module on a host", timeout=120)
    code, answer = inv("provision", three.inventory, *BASE)
    assert code == 2
    assert f"(pid {first.pid}) since" in answer["failures"][0]
    assert "--wait" in answer["cure"]

    first.send_signal(signal.SIGINT)
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 130
    assert json.loads(out)["failures"] == ["interrupted"]
    assert playbooks(three.inventory) == []


def test_killed_on_the_way_it_takes_ansible_along_and_a_rerun_converges(three: Lab) -> None:
    first = subprocess.Popen(
        arguments("provision", three.inventory, *BASE), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: installing(three), "apt on a host", timeout=180)
    first.kill()
    first.wait(timeout=10)
    wait_until(lambda: playbooks(three.inventory) == [], "the end of ansible-playbook", timeout=60)

    code, answer = inv("provision", three.inventory, *BASE)
    assert code == 0, answer["failures"]
    code, answer = inv("provision", three.inventory, *BASE)
    assert code == 0
    assert {name: host["changed"] for name, host in answer["hosts"].items()} == {"one": 0, "two": 0, "three": 0}
    assert answer["slowest"][0]["seconds"] > 0
    assert "PLAY RECAP" in Path(answer["log"]).read_text()


def test_drift_is_reported_exactly_and_repaired(three: Lab) -> None:
    code, answer = inv("drift", three.inventory, *BASE)
    assert (code, answer["drift"]) == (0, [])
    three.bed.sh("one", "dpkg --remove rsync")
    three.bed.sh(
        "two", "sysctl -w net.ipv4.tcp_keepalive_time=7777; echo mine >> /etc/security/limits.d/60-gpu-lab.conf"
    )
    code, answer = inv("drift", three.inventory, *BASE)
    assert code == 1
    found = sorted((change["host"], " ".join(change["differs"])) for change in answer["drift"])
    assert len(found) == 3, found
    assert found[0][0] == "one" and "rsync" in found[0][1]
    assert [host for host, _ in found[1:]] == ["two", "two"]
    assert any("-net.ipv4.tcp_keepalive_time = 7777" in what for _, what in found[1:])
    assert any("-mine" in what for _, what in found[1:])

    code, answer = inv("provision", three.inventory, *BASE)
    assert states(answer) == {"one": "changed", "two": "changed", "three": "converged"}
    assert inv("drift", three.inventory, *BASE)[0] == 0


def test_the_fingerprints_tell_a_planted_difference(three: Lab) -> None:
    three.bed.sh("three", "dpkg --remove rsync; sysctl -w net.ipv4.tcp_keepalive_time=7777")
    code, answer = inv("fingerprint", three.inventory, "--host", "one", "--host", "three")
    assert code == 1
    assert answer["differs"]["kernel_settings.net.ipv4.tcp_keepalive_time"] == {"one": "600", "three": "7777"}
    assert answer["differs"]["packages.versions.rsync"]["three"] == "-"
    assert inv("provision", three.inventory, *BASE, "--limit", "three")[0] == 0


def sick(three: Lab) -> set[tuple[str, str]]:
    """What the doctor finds: (host, check)."""
    code, answer = inv("doctor", three.inventory)
    found = {(row["host"], row["check"]) for row in answer["findings"] if row["state"] == "sick"}
    assert code == 1 or not found
    return found


def test_the_doctor_finds_a_planted_problem_on_its_host(three: Lab) -> None:
    before = sick(three)  # of the machine that the hosts are on: a disk with little room
    three.bed.sh("two", "echo 'http_proxy=http://proxy.example:3128' >> /etc/environment")
    assert sick(three) - before == {("two", "local-proxy")}
    three.bed.sh("two", "sed -i /proxy.example/d /etc/environment")


def test_verify_names_the_broken_promise_its_host_and_its_cure(three: Lab) -> None:
    three.bed.sh("two", "dpkg --remove rsync")
    code, answer = inv("verify", three.inventory, "--only", "test_base")
    assert code == 1
    (failed,) = [row for row in answer["results"] if row["state"] == "failed"]
    assert (failed["host"], failed["check"]) == ("two", "base.packages")
    assert "rsync" in failed["evidence"]
    assert "provision" in failed["cure"]
    assert inv("provision", three.inventory, *BASE)[0] == 0
    assert inv("verify", three.inventory, "--only", "test_base")[0] == 0


# A file system that hands on files and their numbers, and keeps locks to itself: what NFS does with `nolock`.
LOCKS_STAY = """
mkdir -p /run/stay/upper /run/stay/work
mount -t overlay overlay -o lowerdir=/srv/gpulab,upperdir=/run/stay/upper,workdir=/run/stay/work /srv/gpulab
"""


@pytest.mark.parametrize(
    ("mounted", "lost"),
    [
        ("true", set()),
        (LOCKS_STAY, {"across.storage-lock"}),
        ("mount -t tmpfs tmpfs /srv/gpulab", {"across.storage", "across.storage-lock"}),
    ],
    ids=["shared", "locks are not", "not shared"],
)
def test_verify_knows_whether_the_folder_and_its_locks_are_shared(
    three: Lab, tmp_path: Path, mounted: str, lost: set[str]
) -> None:
    inventory = three.bed.inventory(tmp_path / "gpus.ini", variables={**three.variables, "lab_storage_kind": "mounted"})
    three.bed.sh("two", mounted)
    try:
        _, answer = inv("verify", inventory, "--only", "shared_folder or lock_of_one_host")
    finally:
        three.bed.sh("two", "umount /srv/gpulab" if lost else "true")
    found = {row["check"]: row["state"] for row in answer["results"]}
    assert found == {
        check: "failed" if check in lost else "passed" for check in ("across.storage", "across.storage-lock")
    }


def test_the_sudo_password_wrong_and_right(three: Lab, tmp_path: Path) -> None:
    inventory = three.bed.inventory(tmp_path / "gpus.ini", variables=three.variables, user="asks")
    code, answer = inv("provision", inventory, "--limit", "one", "--check", *BASE, "--ask-become-pass", typed="wrong\n")
    assert code == 1
    assert "asks cannot become root on one" in answer["failures"][0]
    assert "--ask-become-pass" in answer["failures"][0]
    code, answer = inv(
        "provision", inventory, "--limit", "one", "--check", *BASE, "--ask-become-pass", typed=f"{RIGHT_PASSWORD}\n"
    )
    assert code == 0, answer["failures"]
    assert RIGHT_PASSWORD not in Path(answer["log"]).read_text()


def test_a_dead_host_does_not_keep_the_others_from_converging(three: Lab) -> None:
    three.bed.sh("one", "dpkg --remove rsync")
    docker_pause(three, "three")
    try:
        code, answer = inv("provision", three.inventory, *BASE)
        assert code == 1
        assert states(answer) == {"one": "changed", "two": "converged", "three": "unreachable"}
        assert len(answer["failures"]) == 1
        assert answer["failures"][0].startswith("three: unreachable")
    finally:
        docker_pause(three, "three", "unpause")
    code, answer = inv("provision", three.inventory, *BASE)
    assert code == 0, answer["failures"]


def test_hosts_behind_a_bastion_are_trusted_provisioned_and_verified_through_it(three: Lab, tmp_path: Path) -> None:
    inventory = three.bed.inventory(tmp_path / "gpus.ini", variables=three.variables)
    direct = three.bed.inventory(tmp_path / "direct.ini", variables=three.variables)
    with bastion(three.bed, ["one", "two", "three"], inventory):
        assert {row["host"] for row in inv("hosts", direct)[1]["hosts"] if row.get("problem")} == {"two", "three"}
        try:
            assert {row["problem"] for row in inv("hosts", inventory)[1]["hosts"]} == {"its host key is not known yet"}
            code, answer = inv("trust", inventory, "--yes")
            assert (code, {row["state"] for row in answer["hosts"]}) == (0, {"accepted"}), answer
            code, answer = inv("provision", inventory, *BASE)
            assert (code, len(answer["hosts"])) == (0, 3), answer["failures"]
            code, answer = inv("verify", inventory, "--only", "test_base")
            assert code == 0, answer["failures"]
            three.bed.sh("two", "dpkg --remove rsync")
            code, answer = inv("drift", inventory, *BASE)
            assert (code, {change["host"] for change in answer["drift"]}) == (1, {"two"})
            assert inv("provision", inventory, *BASE, "--limit", "two")[0] == 0
        finally:
            inv("trust", inventory, *(word for name in three.bed.addresses for word in ("--forget", name)))


def docker_pause(three: Lab, node: str, verb: str = "pause") -> None:
    from tests.testbed.engine import docker

    docker(verb, three.bed.container(node))


def worked_on(three: Lab) -> bool:
    return any("(mitogen:root" in three.bed.sh(n.name, "ps -eo args", check=False) for n in three.bed.nodes)


def installing(three: Lab) -> bool:
    return any("apt-get -y" in three.bed.sh(n.name, "ps -eo args", check=False) for n in three.bed.nodes)


def playbooks(inventory: Path) -> list[int]:
    """The processes that carry out a playbook on this inventory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(inventory).encode() in command and any(word.endswith(b"ansible-playbook") for word in command):
            found.append(int(process.name))
    return found
