"""torch's CPU build: which wheel is taken, and that another in its place is refused. The wheels are small real ones."""

from __future__ import annotations

import hashlib
import platform
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.stacks import cpu_torch as module
from gpulab.stacks import stack as stacks
from gpulab.stacks.cpu_torch import CpuTorch, cpu_torch, digests, this_platform, verified
from gpulab.stacks.stack import Pins, Stack, load_stack

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CP = f"cp{PYTHON.replace('.', '')}"
KEY = f"9.9.9-{CP}-{this_platform()}"
PINS = ["torch==" + "9.9.9"]
WheelOf = Callable[..., str]


@pytest.fixture
def wheel_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelOf:
    """Puts a wheel of torch 9.9.9+cpu, with that text in it, into the folder that pip is told of; gives its digest."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(module, "SEEN", tmp_path / "cache" / "torch-cpu.json")

    def make(text: str, build: str = "", machine: str = platform.machine()) -> str:
        tag = f"{CP}-{CP}-linux_{machine}"
        wheel, info = folder / f"torch-9.9.9+cpu-{build}{tag}.whl", "torch-9.9.9+cpu.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("torch.py", f"said = {text!r}\n")
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9+cpu\n")
            archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
            archive.writestr(f"{info}/RECORD", "")
        return hashlib.sha256(wheel.read_bytes()).hexdigest()

    return make


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stack]:
    """A stack of torch alone."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small/small.lock").write_text("# a lock\n")
    monkeypatch.setattr(stacks, "DOCKER", tmp_path)
    monkeypatch.setattr(stacks, "STACKS", tmp_path / "venvs")
    pins = Pins(about="small", python="any", torch="cpu", pins=PINS)
    return lambda **torch_pins: Stack("small", pins, torch_pins=torch_pins)


def test_a_planted_wheel_is_not_installed(wheel_of: WheelOf, stack: Callable[..., Stack]) -> None:
    pins = {KEY: wheel_of("the maker's")}
    wheel_of("planted")
    made = stack(**pins)
    with pytest.raises(UsageError, match=r"not the torch that docker/stacks\.yml pins"):
        made.ensure()
    assert not made.installed
    assert not list(made.venv.glob("lib/*/site-packages/torch.py"))


def test_the_pinned_wheel_is_installed_and_its_digest_told(wheel_of: WheelOf, stack: Callable[..., Stack]) -> None:
    digest = wheel_of("the maker's")
    made = stack(**{KEY: digest})
    made.ensure()
    assert made.torch_sha256 == [digest]
    assert [path.read_text() for path in made.venv.glob("lib/*/site-packages/torch.py")] == ['said = "the maker\'s"\n']


def test_what_is_not_pinned_is_kept_at_first_use_and_compared_afterwards(wheel_of: WheelOf) -> None:
    first = wheel_of("first")
    for _ in range(2):
        assert digests(verified(cpu_torch(PINS, PYTHON), {}, this_platform())) == [first]
    wheel_of("another")
    with pytest.raises(UsageError, match="not the torch that was used first") as caught:
        verified(cpu_torch(PINS, PYTHON), {}, this_platform())
    assert KEY in caught.value.cure
    module.SEEN.unlink()
    assert digests(verified(cpu_torch(PINS, PYTHON), {}, this_platform())) != [first]


def test_a_wheel_for_another_machine_is_none(wheel_of: WheelOf) -> None:
    wheel_of("for another", machine="s390x")
    assert cpu_torch(PINS, PYTHON).wheel is None


def test_a_pin_is_for_one_python_and_platform(wheel_of: WheelOf) -> None:
    digest = wheel_of("mine")
    torch = cpu_torch(PINS, PYTHON)
    pins = {KEY.replace(CP, "cp300"): "0" * 64, f"9.9.9-{CP}-linux_s390x": "0" * 64}
    assert digests(verified(torch, pins, this_platform())) == [digest]


@pytest.mark.parametrize(
    ("pinned", "accepted"), [({}, ["a" * 64, "b" * 64]), ({KEY: "b" * 64}, ["b" * 64]), ({KEY: "c" * 64}, None)]
)
def test_of_the_index_only_what_it_announced_first_or_what_is_pinned_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pinned: dict[str, str], accepted: list[str] | None
) -> None:
    """Against a uv that answers as it does from PyTorch's index, which is not reached here."""
    announced = ["a" * 64, "b" * 64]

    def uv(words: list[str], *_: str) -> None:
        assert words[words.index("--torch-backend") + 1] == "cpu"
        hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in announced)
        Path(words[words.index("--output-file") + 1]).write_text(f"{PINS[0]}+cpu \\\n{hashes}\n")

    monkeypatch.setattr(module, "uv", uv)
    torch, seen = CpuTorch("9.9.9", PYTHON, None), tmp_path / "seen.json"
    if accepted is None:
        with pytest.raises(UsageError, match="the index: not the torch that docker/stacks"):
            verified(torch, pinned, this_platform(), seen)
        return
    requirement = verified(torch, pinned, this_platform(), seen)
    assert requirement.split()[0] == f"{PINS[0]}+cpu"
    assert digests(requirement) == accepted
    announced[:] = ["c" * 64]
    with pytest.raises(UsageError, match="not the torch that"):
        verified(torch, pinned, this_platform(), seen)


def test_the_wheel_that_this_machine_has_is_the_pinned_one(tmp_path: Path) -> None:
    stack = load_stack("cpu")
    torch = cpu_torch(stack.all_pins, PYTHON)
    if not torch.wheel or f"{torch.version}-{CP}-{this_platform()}" not in stack.torch_pins:
        pytest.skip("no wheel of torch at hand, or none that is pinned")
    assert len(digests(verified(torch, stack.torch_pins, this_platform(), tmp_path / "seen.json"))) == 1
