"""A stack's venv, made for real: what has no wheel is built as docker/stacks.yml says, or not at all."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from gpulab.common.errors import UsageError
from gpulab.stacks import stack as stacks
from gpulab.stacks.lock_parts import entries
from gpulab.stacks.stack import Pins, Stack, load_stack

pytestmark = pytest.mark.rehearsal

SETUP = """
import setuptools
from os import environ
told = {"FLAVOUR": environ.get("FLAVOUR"), "BY": setuptools.__version__, "CUDA": environ.get("CUDA_HOME")}
open("probe.py", "w").writelines(f"{name} = {value!r}\\n" for name, value in told.items())
setuptools.setup(name="probe", version="0", py_modules=["probe"])
"""


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """A stack of setuptools, as the cpu stack has it, and of a source distribution that tells how it was built."""
    folder = tmp_path / "index"
    folder.mkdir()
    with tarfile.open(folder / "probe-0.tar.gz", "w:gz") as archive:
        for name, text in {"setup.py": SETUP, "PKG-INFO": "Metadata-Version: 2.1\nName: probe\nVersion: 0\n"}.items():
            member = tarfile.TarInfo(f"probe-0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256((folder / "probe-0.tar.gz").read_bytes()).hexdigest()
    setuptools = entries(load_stack("cpu").lock.read_text())["setuptools"]
    (tmp_path / "small").mkdir()
    (tmp_path / "small/small.lock").write_text(f"# a lock\nprobe==0 \\\n    --hash=sha256:{digest}\n{setuptools}")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setattr(stacks, "DOCKER", tmp_path)
    monkeypatch.setattr(stacks, "STACKS", tmp_path / "venvs")

    def made(**sources: dict[str, str]) -> Stack:
        return Stack("small", Pins(about="small", python="any", torch="none", pins=["probe==0"]), sources=sources)

    return made


def test_a_listed_one_is_built_by_the_stacks_own_setuptools_in_its_environment(stack):
    made = stack(probe={"FLAVOUR": "salt"})
    made.ensure()
    code = "import probe, setuptools; print(probe.FLAVOUR, probe.BY == setuptools.__version__, probe.CUDA)"
    done = subprocess.run([made.bin / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["salt", "True", str(made.venv / "cuda")]


def test_bytecode_is_made_of_what_is_imported_alone(stack):
    made = stack(probe={})
    made.ensure()
    modules = list(made.venv.glob("lib/python*/site-packages/setuptools/**/*.py"))
    compiled = [file for file in modules if Path(cache_from_source(str(file))).exists()]
    assert len(compiled) < len(modules), "some of them nobody imports"


def test_one_that_is_not_listed_is_not_built_and_the_venv_is_none(stack):
    made = stack()
    with pytest.raises(UsageError, match="has no usable wheels"):
        made.ensure()
    assert not made.installed
