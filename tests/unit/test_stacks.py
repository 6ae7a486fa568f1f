"""docker/stacks.yml and the locks made from it."""

from __future__ import annotations

import pytest

from gpulab.common.errors import UsageError
from gpulab.stacks import stack as module
from gpulab.stacks.locks import why_not_together
from gpulab.stacks.resolver import versions
from gpulab.stacks.stack import load_stack, load_stacks

GOOD = """\
stacks:
  base:
    about: b
    python: "3.12"
    torch: cuda
    pins: [alpha==1.0]
  child:
    about: c
    from: base
    pins: [more==2.0]
images:
  base: python:{python}
  python: "3.12"
"""


@pytest.fixture
def stacks_yml(tmp_path, monkeypatch):
    file = tmp_path / "stacks.yml"
    monkeypatch.setattr(module, "STACKS_YML", file)

    def write(*replacements: tuple[str, str]) -> None:
        text = GOOD
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)

    return write


def test_a_child_takes_its_parents_pins_python_and_torch(stacks_yml):
    stacks_yml()
    child = load_stacks()["child"]
    assert child.all_pins == ["alpha==1.0", "more==2.0"]
    assert (child.pins.python, child.pins.torch) == ("3.12", "cuda")


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (("from: base", "from: bsae"), "stacks.yml:9: no stack 'bsae' above"),
        (("    from: base\n", ""), "stacks.yml:7: stacks.child: `python` and `torch` come from"),
        (("torch: cuda", "torch: rocm"), "stacks.yml:5: stacks.base.torch"),
        (("about: b", "abuot: b"), "stacks.yml:3: unknown key 'stacks.base.abuot'"),
    ],
)
def test_a_mistake_is_named_with_its_line(stacks_yml, replacement, message):
    stacks_yml(replacement)
    with pytest.raises(UsageError) as caught:
        load_stacks()
    assert message in caught.value.message


def test_an_unknown_stack_gets_the_nearest():
    with pytest.raises(UsageError, match="no stack 'vlm'") as caught:
        load_stack("vlm")
    assert "vllm" in caught.value.cure


@pytest.mark.parametrize("name", load_stacks())
def test_a_lock_holds_its_pins_and_its_parents_versions(name):
    stack = load_stack(name)
    locked = versions(stack.lock.read_text())
    for pin in stack.all_pins:
        package, _, version = pin.partition("==")
        package = package.split("[")[0]
        if not (package == "torch" and stack.pins.torch == "cpu"):  # torch's CPU build stands outside the lock
            assert locked[package] == version
    for package, version in versions(stack.parent.lock.read_text()).items() if stack.parent else ():
        assert locked.get(package) == version, f"{package}: what {stack.parent.name} and {name} share is the same"


COMPILER = ["nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl"]
COMPILES = [s for s in load_stacks().values() if s.lock.is_file() and COMPILER[0] in versions(s.lock.read_text())]


@pytest.mark.parametrize("stack", COMPILES, ids=lambda stack: stack.name)
def test_the_compiler_is_of_the_same_cuda_release_as_the_headers_of_torch(stack):
    """CCCL refuses another with `#error`, DeepSpeed with CUDAMismatchException: nothing compiles at first use."""
    locked = versions(stack.lock.read_text())
    release = {name: locked[name].split(".")[:2] for name in COMPILER}
    assert release == dict.fromkeys(COMPILER, locked["nvidia-cuda-runtime"].split(".")[:2])


def test_a_stack_is_not_resolved_with_itself(monkeypatch):
    monkeypatch.setattr("gpulab.stacks.locks.resolve", lambda *_, **__: pytest.fail("resolved"))
    with pytest.raises(UsageError, match="name two stacks or more"):
        why_not_together("vllm,vllm")


def test_a_venv_that_was_moved_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STACKS", tmp_path / "first")
    monkeypatch.setattr(module.installer, "install", lambda stack: stack.venv.mkdir(parents=True))
    made = load_stack("cpu")
    made.ensure()
    assert made.installed
    (tmp_path / "first").rename(tmp_path / "second")
    monkeypatch.setattr(module, "STACKS", tmp_path / "second")
    assert made.venv.is_dir() and not made.installed, "its programs begin with a path that is gone"
