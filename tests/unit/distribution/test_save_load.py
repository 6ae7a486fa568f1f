"""`inv save` and `inv load` on a real engine: what arrives, and what never does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.paths import ROOT
from gpulab.images.distribute import ImageSet
from gpulab.images.inspect import look
from gpulab.images.load import load, load_here
from gpulab.images.save import save
from gpulab.images.streams import saving
from gpulab.images.tarball import Held, write
from tests.unit.distribution.conftest import ONE, TWO, MakeImage, forget, tag_of
from tests.wait import wait_until


def there() -> dict[str, str]:
    """Tag -> identity of the test's images on the engine."""
    return {tag: found.id for tag, found in look(Docker(), [tag_of(ONE), tag_of(TWO)]).items()}


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_what_was_saved_is_what_is_loaded(make_image: MakeImage, tmp_path: Path, ending: str):
    make_image(ONE)
    make_image(TWO)
    before = there()
    file = tmp_path / f"two{ending}"
    save(f"{ONE},{TWO}", file=str(file))
    done = subprocess.run(["sha256sum", "-c", f"{file.name}.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [file.name, f"{file.name}.sha256"]

    forget()
    assert load(str(file), hosts="", limit="").data["state"] == "loaded"
    assert there() == before
    assert load(str(file), hosts="", limit="").data["state"] == "there"


def test_gz_is_really_gzipped(make_image: MakeImage, tmp_path: Path):
    make_image(ONE)
    save(ONE, file=str(tmp_path / "one.tar.gz"))
    assert (tmp_path / "one.tar.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_another_image_of_the_same_tag_is_replaced(make_image: MakeImage, tmp_path: Path):
    make_image(ONE)
    before = there()
    save(ONE, file=str(tmp_path / "one.tar"))
    make_image(ONE)
    assert there() != before
    assert load(str(tmp_path / "one.tar"), hosts="", limit="").data["state"] == "loaded"
    assert there() == before


@pytest.mark.parametrize("harm", ["cut", "a byte"])
def test_a_torn_file_is_refused_and_nothing_of_it_loaded(make_image: MakeImage, tmp_path: Path, harm: str):
    make_image(ONE, size=100_000)
    file = tmp_path / "one.tar"
    save(ONE, file=str(file))
    forget()
    with file.open("r+b") as handle:
        if harm == "cut":
            handle.truncate(50_000)
        else:
            handle.seek(50_000)
            changed = bytes([handle.read(1)[0] ^ 1])
            handle.seek(50_000)
            handle.write(changed)
    with pytest.raises(UsageError, match="torn or changed") as error:
        load(str(file), hosts="", limit="")
    assert "copy it again" in error.value.cure
    assert there() == {}


def test_without_its_checksum_or_with_a_strangers_a_file_is_refused(make_image: MakeImage, tmp_path: Path):
    make_image(ONE)
    file = tmp_path / "one.tar"
    save(ONE, file=str(file))
    forget()
    beside = tmp_path / "one.tar.sha256"
    whole = beside.read_text()
    for text, said in (("", "not one that"), (re.sub("(?m)^#.*\n", "", whole), "not one that"), (None, "no checksum")):
        beside.unlink() if text is None else beside.write_text(text)
        with pytest.raises(UsageError, match=said):
            load(str(file), hosts="", limit="")
    assert there() == {}


@pytest.mark.parametrize("file", ["", "images.zip", "images", "missing/images.tar", "folder.tar"])
def test_a_name_that_cannot_be_is_refused_before_anything_is_asked(tmp_path: Path, file: str):
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(UsageError) as error:
        save(ONE, file=str(tmp_path / file) if file else "")
    assert error.value.cure
    assert [p.name for p in tmp_path.iterdir()] == ["folder.tar"]


def test_a_missing_image_is_named_and_no_file_is_begun(make_image: MakeImage, tmp_path: Path):
    make_image(ONE)
    with pytest.raises(UsageError, match=f"has no {tag_of(TWO)}") as error:
        save(f"{ONE},{TWO}", file=str(tmp_path / "x.tar"))
    assert f"./inv build {TWO}" in error.value.cure
    assert list(tmp_path.iterdir()) == []


def test_what_the_engine_cannot_save_leaves_an_earlier_file_alone(engine: str, tmp_path: Path):
    file = tmp_path / "x.tar"
    file.write_text("earlier")
    with pytest.raises(UsageError, match="does not exist"):
        write(file, saving(Docker(), ["gpulab/never:made"], squeeze=False), [], lambda _: None)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.tar", "earlier")]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("file", "said"), [("x.tar", "it takes 2.0 MB"), ("x.tar.gz", "No space left")])
def test_a_full_disk_is_told_and_left_as_it_was(make_image: MakeImage, small: Path, file: str, said: str):
    make_image(ONE, size=2_000_000)  # random, so that it stays as large
    with pytest.raises(UsageError, match=said):
        save(ONE, file=str(small / file))
    assert list(small.iterdir()) == []


def test_an_engine_without_room_is_told_before_anything_is_sent(engine: str):
    image_set = ImageSet([Held(tag_of(ONE), "0" * 12, 10**18)], stream=lambda: pytest.fail("it was sent"))
    with pytest.raises(UsageError, match=r"it takes 2\.0 EB, there are .* where the engine keeps its images") as error:
        load_here(image_set)
    assert "docker system prune" in error.value.cure


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_nothing_half_made_stays_and_docker_is_stopped(
    make_image: MakeImage, tmp_path: Path, number: signal.Signals
):
    make_image(ONE, size=40_000_000)
    # A gzip that never ends: the interruption comes while the file is being written.
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "gzip"
    slow.write_text("#!/bin/sh\nhead -c 100000\nexec sleep 600\n")
    slow.chmod(0o755)
    (tmp_path / "bin" / "pigz").symlink_to(slow)
    out = tmp_path / "out"
    out.mkdir()
    inv = subprocess.Popen(
        [sys.executable, str(ROOT / "gpulab" / "__main__.py"), "save", ONE, "--file", str(out / "x.tar.gz")],
        env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler), start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: any(p.name.endswith(".part") for p in out.iterdir()), "a file being written", timeout=30)
    inv.send_signal(number)
    _, said = inv.communicate(timeout=30)
    assert (inv.returncode, said.strip().splitlines()[-1]) == (130, "error: interrupted")
    assert list(out.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(inv.pid, 0)


def test_interrupted_on_the_way_to_a_host_everything_is_stopped(make_image: MakeImage, tmp_path: Path):
    make_image(ONE)
    save(ONE, file=str(tmp_path / "x.tar"))
    forget()
    inventory = tmp_path / "gpus.ini"
    inventory.write_text("[gpu]\nnear ansible_host=127.0.0.1 ansible_connection=local\n")
    # A docker whose `load` never ends.
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(
        f'#!/bin/sh\n[ "$1" != load ] || {{ touch {tmp_path}/loading; exec sleep 600; }}\n'
        f'exec {shutil.which("docker")} "$@"\n'
    )
    docker.chmod(0o755)
    inv = subprocess.Popen(
        [sys.executable, str(ROOT / "gpulab" / "__main__.py"), "load", f"{tmp_path}/x.tar", "--hosts", str(inventory)],
        env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_until((tmp_path / "loading").exists, "docker load under way", timeout=30)
    inv.send_signal(signal.SIGINT)
    _, said = inv.communicate(timeout=30)
    assert (inv.returncode, said.strip().splitlines()[-1]) == (130, "error: interrupted")
    with pytest.raises(ProcessLookupError):
        os.killpg(inv.pid, 0)
    assert there() == {}
