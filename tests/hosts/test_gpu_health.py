"""Every GPU of the host, as healthy as its type should be (gpu_types.yml)."""

from typing import Any

import pytest
from testinfra.host import Host

from gpulab.checks.acceptance import gpu_type
from tests.hosts.check import check
from tests.hosts.conftest import topology

BOARD = "take the host out of use and have the board looked at; {}"
# Xid numbers that end a job or a board; others are the program's own mistakes (13, 31, 43, 45 ...),
# or were dealt with (63: a row of memory was remapped).
FATAL_XIDS = {48, 64, 74, 79, 92, 94, 95, 119, 120, 140}
UNKNOWN = ("[N/A]", "[Not Supported]", "N/A")


def type_of(name: str) -> dict[str, int]:
    found = gpu_type(name)
    if not found:
        pytest.skip(f"gpu_types.yml has no {name}")
    return found


def bad(smi: list[dict[str, str]], field: str, good: tuple[str, ...]) -> dict[str, str]:
    return {gpu["index"]: gpu[field] for gpu in smi if gpu[field] not in good + UNKNOWN}


@check("gpu_health.count", BOARD.format("a GPU that fell off the bus often returns after a power cycle"))
def test_the_driver_sees_every_gpu_of_the_bus(gpus: list[str], smi: list[dict[str, str]]) -> None:
    assert len(smi) == len(gpus)


@check("gpu_health.expected", "see `lspci -d 10de:`; correct gpu_count in the inventory if the host was rebuilt")
def test_the_host_has_as_many_gpus_as_the_inventory_says(gpus: list[str], variables: dict[str, Any]) -> None:
    if "gpu_count" not in variables:
        pytest.skip("the inventory says no gpu_count")
    assert len(gpus) == int(variables["gpu_count"])


@check("gpu_health.ecc", BOARD.format("the count starts anew with a boot"))
def test_memory_has_no_uncorrected_errors(smi: list[dict[str, str]]) -> None:
    assert bad(smi, "ecc.errors.uncorrected.volatile.total", ("0",)) == {}


@pytest.mark.parametrize("field", ["retired_pages.pending", "remapped_rows.pending"])
@check("gpu_health.memory-repair", "reboot the host: the repair of a memory row waits for it")
def test_no_memory_repair_waits_for_a_boot(smi: list[dict[str, str]], field: str) -> None:
    assert bad(smi, field, ("No", "0")) == {}


@check("gpu_health.memory-worn", BOARD.format("the board has no spare memory rows left"))
def test_memory_could_be_repaired(smi: list[dict[str, str]]) -> None:
    assert bad(smi, "remapped_rows.failure", ("No", "0")) == {}


@check("gpu_health.pcie", BOARD.format("reseat it: lanes are missing"))
def test_every_gpu_has_all_its_lanes(smi: list[dict[str, str]]) -> None:
    assert {
        g["index"]: g["pcie.link.width.current"]
        for g in smi
        if g["pcie.link.width.current"] != g["pcie.link.width.max"]
    } == {}
    assert {g["index"] for g in smi if int(g["pcie.link.width.current"]) < type_of(g["name"])["pcie_width"]} == set()


@pytest.mark.parametrize(
    "reason", ["hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown"]
)
@check("gpu_health.clocks", "look after cooling and power supply: the GPU slows itself down")
def test_nothing_slows_the_gpu_down(smi: list[dict[str, str]], reason: str) -> None:
    assert bad(smi, f"clocks_event_reasons.{reason}", ("Not Active",)) == {}


@check("gpu_health.xid", BOARD.format("NVIDIA's Xid catalogue says what the number means"))
def test_the_kernel_logged_no_fatal_error(host: Host, gpus: list[str]) -> None:
    log = host.run("journalctl --dmesg --boot --no-pager --grep 'NVRM: Xid'").stdout
    numbers = {int(line.split("): ")[1].split(",")[0]) for line in log.splitlines() if "Xid" in line and "): " in line}
    assert numbers & FATAL_XIDS == set()


@check("gpu_health.nvlink", "restart nvidia-fabricmanager; " + BOARD.format("a link that stays down is hardware"))
def test_every_nvlink_is_up(host: Host, smi: list[dict[str, str]]) -> None:
    expected = type_of(smi[0]["name"])["nvlinks"]
    if not expected or len(smi) < 2:
        pytest.skip(f"{smi[0]['name']}, {len(smi)} of them: no NVLink to look at")
    answer = host.run("nvidia-smi nvlink --status")
    up = [line for line in answer.stdout.splitlines() if "GB/s" in line]
    assert len(up) == expected * len(smi), f"{len(up)} links are up"


@check("gpu_health.topology", "see `nvidia-smi topo -m`: " + BOARD.format("bridges or NVSwitches are missing"))
def test_gpus_talk_over_nvlink_where_they_can(host: Host, smi: list[dict[str, str]]) -> None:
    if not type_of(smi[0]["name"])["nvlinks"] or len(smi) < 2:
        pytest.skip(f"{smi[0]['name']}, {len(smi)} of them: no NVLink to look at")
    rows = topology(host.run("nvidia-smi topo -m").stdout)
    assert len(rows) == len(smi)
    links = {
        f"{one}-GPU{other}": link
        for one, cells in rows.items()
        for other, link in enumerate(cells[: len(smi)])
        if link != "X"
    }
    assert {pair: link for pair, link in links.items() if not link.startswith("NV")} == {}


@check("gpu_health.dcgm", BOARD.format("`dcgmi diag -r 3 -v` tells more"))
def test_nvidias_own_diagnosis_passes(host: Host, answering: None, variables: dict[str, Any]) -> None:
    if host.run("command -v dcgmi").rc != 0:
        pytest.skip("dcgmi is not installed (package datacenter-gpu-manager)")
    # 1 takes seconds, 2 some minutes of the GPUs.
    answer = host.run(f"dcgmi diag -r {variables.get('gpu_diagnosis', 1)}")
    assert answer.rc == 0, answer.stdout[-2000:]
