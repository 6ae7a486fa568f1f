"""What goes wrong in real life: each time the message names the cause, and a later run completes."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.testbed import Node, playbook
from tests.testbed.breakages import OLDER
from tests.testbed.conftest import Lab, lab
from tests.testbed.engine import docker
from tests.testbed.paths import REPO
from tests.testbed.standin.repository import OLDER_DRIVER, Repository

TOOLKIT = ("--tags", "nvidia_container_toolkit", "--limit", "gpu1")


def text(result: playbook.Result, host: str) -> str:
    return " ".join(result.failures(host))


def test_a_host_without_a_gpu_gets_no_driver(provisioned: Lab) -> None:
    assert provisioned.bed.sh("cpu1", "dpkg --list | grep -c nvidia || true").strip() == "0"
    outcomes = provisioned.verify("cpu1")
    assert "failed" not in outcomes.values()
    assert outcomes["nvidia_driver.version@cpu1"] == "skipped"


def test_a_host_that_must_have_a_gpu_and_has_none_is_refused(provisioned: Lab) -> None:
    result = provisioned.provision("--limit", "cpu1", "--tags", "validate", "-e", "gpu=required")
    assert result.code == 2
    assert "Cure" in text(result, "cpu1") and "gpu=none" in text(result, "cpu1")


def test_a_driver_that_no_longer_serves_the_gpus_is_refused(provisioned: Lab) -> None:
    gpu = "/opt/testbed/pci/0000:10:00.0/device"
    provisioned.bed.sh("gpu1", f"cp {gpu} /root/device; echo 0x1db1 > {gpu}")  # a V100
    validate = ("--tags", "validate", "--limit", "gpu1")
    try:
        provisioned.converged(*validate)
        refused = provisioned.provision(*validate, "-e", "nvidia_driver_version=590.44.01")
    finally:
        provisioned.bed.sh("gpu1", f"mv /root/device {gpu}")
    assert "older than Turing" in text(refused, "gpu1") and "Cure: set nvidia_driver_version" in text(refused, "gpu1")


def test_a_version_that_does_not_exist_is_answered_with_those_that_do(provisioned: Lab) -> None:
    result = provisioned.provision(*TOOLKIT, "-e", "nvidia_container_toolkit_version=9.9.9")
    assert result.code == 2
    assert "nvidia-container-toolkit 9.9.9-* does not exist for gpu1, offered: 1.18.2-1, 1.17.8-1" in text(
        result, "gpu1"
    )
    assert "docker/stacks.yml" in text(result, "gpu1")


@pytest.fixture
def missing_toolkit(provisioned: Lab) -> Iterator[Lab]:
    """Something to install, so that the repository is asked."""
    provisioned.bed.sh("gpu1", "dpkg --remove --force-depends nvidia-container-toolkit")
    yield provisioned
    provisioned.repository.fault = None
    provisioned.converged(*TOOLKIT)


@pytest.mark.parametrize("fault", ["404", "500"])
def test_a_repository_that_fails_is_named(missing_toolkit: Lab, fault: str) -> None:
    missing_toolkit.repository.fault = fault
    result = missing_toolkit.provision(*TOOLKIT)
    assert result.code == 2
    assert "/nvidia_container_toolkit cannot be used by gpu1" in text(result, "gpu1")
    assert fault in text(result, "gpu1") and "Cure" in text(result, "gpu1")


def test_a_slow_repository_is_waited_for(missing_toolkit: Lab) -> None:
    missing_toolkit.repository.fault = "slow"
    missing_toolkit.converged(*TOOLKIT)


def test_the_lists_of_packages_are_waited_for_while_another_apt_holds_them(missing_toolkit: Lab) -> None:
    """As apt-daily does on a host that was just booted; longer than a repository is given."""
    held = 'import fcntl, time; f = open("/var/lib/apt/lists/lock", "w"); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(25)'
    missing_toolkit.bed.sh("gpu1", f"systemd-run --quiet --collect --unit apt-held python3 -c '{held}'")
    missing_toolkit.converged(*TOOLKIT)


def test_a_key_that_is_not_the_announced_one_is_not_trusted(provisioned: Lab) -> None:
    provisioned.bed.sh("gpu1", "rm /etc/apt/keyrings/gpu-lab-nvidia-container-toolkit.asc")
    result = provisioned.provision(*TOOLKIT, "-e", f"nvidia_container_toolkit_key_fingerprint={'0' * 40}")
    assert "holds another key" in text(result, "gpu1")
    assert provisioned.bed.sh("gpu1", "ls /etc/apt/keyrings/gpu-lab-nvidia-container-toolkit.asc || true") == ""
    provisioned.converged(*TOOLKIT)


def test_one_dead_host_of_three_keeps_nobody_from_converging(provisioned: Lab) -> None:
    provisioned.bed.sh("gpu1", "rm /etc/nccl.conf")
    docker("kill", provisioned.bed.container("gpu2"))
    result = provisioned.provision("--tags", "fabric")
    assert result.code == 4
    assert result.changed("gpu1") == ["fabric : Ensure NCCL knows its interface"]
    assert result.failures("cpu1") == [] and "10.87." in text(result, "gpu2")

    docker("start", provisioned.bed.container("gpu2"))
    provisioned.bed.wait()
    assert provisioned.converged("--tags", "fabric").changed("gpu1") == []


def test_a_changed_host_key_ends_the_run(provisioned: Lab) -> None:
    trusted = provisioned.bed.known_hosts.read_text()
    other = provisioned.bed.key.with_suffix(".pub").read_text().split()[1]
    provisioned.bed.known_hosts.write_text(f"{provisioned.bed.addresses['cpu1']} ssh-ed25519 {other}\n")
    try:
        # A connection that is still open would not look at the key again.
        result = provisioned.provision("--tags", "validate", "--limit", "cpu1", "--ssh-extra-args=-o ControlPath=none")
    finally:
        provisioned.bed.known_hosts.write_text(trusted)
    assert result.code == 4
    assert "host key" in text(result, "cpu1").lower()


@pytest.mark.parametrize(("password", "code"), [("wrong", 2), ("the-right-password", 0)])
def test_a_wrong_sudo_password_is_told(provisioned: Lab, password: str, code: int) -> None:
    inventory = provisioned.bed.inventory(provisioned.bed.directory / "asks.ini", provisioned.variables, user="asks")
    result = provisioned.provision(
        "--tags", "validate", "--limit", "cpu1", "-e", f"ansible_become_password={password}", inventory=inventory
    )
    assert result.code == code, result.output
    if code:
        assert "asks cannot become root on cpu1" in text(result, "cpu1") and "--ask-become-pass" in text(result, "cpu1")


def test_a_driver_in_use_is_left_alone(provisioned: Lab) -> None:
    bed = provisioned.bed
    bed.sh("gpu1", "apt-mark unhold nvidia-open; echo '4711, python train.py' > /run/nvidia-standin/jobs")
    result = provisioned.provision("--tags", "nvidia_driver", "--limit", "gpu1")
    bed.sh("gpu1", "rm /run/nvidia-standin/jobs")
    assert "4711, python train.py" in text(result, "gpu1")
    provisioned.converged("--tags", "nvidia_driver", "--limit", "gpu1")


def test_another_driver_is_noticed_told_and_takes_a_reboot_that_has_to_be_allowed(provisioned: Lab) -> None:
    older = f"{OLDER} nvidia-open={OLDER_DRIVER}-1; echo {OLDER_DRIVER} > /run/nvidia-standin/version"
    provisioned.bed.sh("gpu1", older)
    outcomes = provisioned.verify("gpu1", "-k", "test_nvidia_driver")
    assert {check for check, outcome in outcomes.items() if outcome == "failed"} == {
        "nvidia_driver.version@gpu1", "nvidia_driver.running@gpu1", "nvidia_driver.held@gpu1",
    }  # fmt: skip
    tags = ("--tags", "nvidia_driver", "--limit", "gpu1")
    told = "packages : Ensure the packages have their versions for the NVIDIA driver"
    assert told in provisioned.converged("--check", "--diff", *tags).changed("gpu1")

    # The right one is installed and the older one still runs: NVML says mismatch.
    refused = provisioned.provision(*tags)
    assert f"{OLDER_DRIVER} is running. Cure: reboot the host, or provision with --reboot" in text(refused, "gpu1")
    assert provisioned.verify("gpu1", "-k", "one_version")["nvidia_driver.answers@gpu1"] == "failed"

    rebooted = provisioned.converged(*tags, "-e", "nvidia_driver_reboot=true")
    assert any("rebooted" in task for task in rebooted.changed("gpu1"))
    provisioned.converged("--limit", "gpu1")
    assert "failed" not in provisioned.verify("gpu1").values()


@pytest.fixture(scope="module")
def late(repository: Repository) -> Iterator[Lab]:
    with lab("late", [Node("late", "bookworm", gpus=0)], repository) as one:
        yield one


def test_a_run_that_was_killed_is_completed_by_the_next(late: Lab) -> None:
    events = late.bed.directory / "killed.events"
    run = subprocess.Popen(
        playbook.command(late.inventory, "--tags", "base"),
        cwd=REPO, env=playbook.environment(events), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    # The controller dies, and so does the installation, as when the power goes: seen and killed there, in one breath,
    # while packages are set up.
    half = "ps -C dpkg -o args= | grep -q -- --configure && dpkg --audit | grep -q ."
    kill = "pkill -KILL --exact 'apt-get|dpkg'"
    late.bed.sh("late", f'timeout 180 sh -c "until {half} && {kill}; do sleep 0.02; done"')
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert late.bed.sh("late", "dpkg --audit").strip(), "the installation was not interrupted"

    again = late.converged("--tags", "base")
    assert "packages : Ensure an interrupted installation is finished" in again.changed("late")
    assert late.bed.sh("late", "dpkg --audit").strip() == ""
    assert late.converged("--tags", "base").changed("late") == []


# dpkg starts this to unpack: it kills dpkg at that moment, as when the power goes.
CUT_OFF = """
mkdir /root/cut && cat > /root/cut/dpkg-deb <<'END'
#!/bin/sh
case "$*" in *--fsys-tarfile*) kill -KILL $PPID ;; esac
exec /usr/bin/dpkg-deb "$@"
END
chmod 755 /root/cut/dpkg-deb
cd /root && apt-get download -q rsync ethtool
PATH=/root/cut:$PATH dpkg --unpack rsync_*.deb || true
dpkg --unpack ethtool_*.deb
rm -r /root/cut rsync_*.deb ethtool_*.deb
"""
STATES = "dpkg-query --show --showformat='${Package} ${db:Status-Status} ${db:Status-Eflag}\\n' rsync ethtool"


def test_a_package_that_was_cut_off_while_it_was_unpacked_is_unpacked_again(late: Lab) -> None:
    late.bed.sh("late", CUT_OFF)
    assert late.bed.sh("late", STATES).splitlines() == ["ethtool unpacked ok", "rsync half-installed reinstreq"]
    late.bed.sh("late", "dpkg --configure -a || true")  # which is no cure
    assert "rsync half-installed reinstreq" in late.bed.sh("late", STATES)
    announced = late.converged("--check", "--tags", "base").changed("late")
    again = late.converged("--tags", "base").changed("late")
    assert any("Find what is missing" in task for task in announced)
    assert "packages : Ensure what unpacked packages wait for is there" in again
    assert late.bed.sh("late", STATES).splitlines() == ["ethtool installed ok", "rsync installed ok"]
    assert late.bed.sh("late", "dpkg --audit") == "" and late.bed.sh("late", "rsync --version")
    assert late.converged("--tags", "base").changed("late") == []
