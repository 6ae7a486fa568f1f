"""Bytes from one program to another, counted on the way; a program that fails says so in docker's complaints."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import IO, Any, cast

import psutil

from gpulab.common.docker import Docker
from gpulab.common.errors import UsageError
from gpulab.common.processes import stop

CHUNK = 1 << 20


@contextmanager
def saving(docker: Docker, tags: Sequence[str], squeeze: bool) -> Iterator[BufferedReader]:
    """`docker save` as a stream, gzipped where asked. Raises UsageError when it failed."""
    with (
        tempfile.TemporaryFile() as said,
        _process(docker.argv("save", *tags), env=docker.env(), stdout=subprocess.PIPE, stderr=said) as saver,
    ):
        if squeeze:
            with gzipped(out_of(saver)) as smaller:
                yield smaller
        else:
            yield out_of(saver)
        if saver.wait():
            raise docker.complaint(_text(said))


@contextmanager
def gzipped(source: BufferedReader) -> Iterator[BufferedReader]:
    """A stream, smaller. Raises UsageError when gzip failed."""
    program = "pigz" if pigz() else "gzip"
    with _process([program, "-1"], stdin=source, stdout=subprocess.PIPE) as gzip:
        source.close()  # gzip's alone, so that the one who writes it learns of gzip's end
        yield out_of(gzip)
        if gzip.wait():
            raise UsageError(f"{program} ended with {gzip.returncode}", "write a .tar, uncompressed")


def loading(docker: Docker, source: BufferedReader, watch: Callable[[int], None]) -> None:
    """Feed `docker load` from `source`. Raises UsageError when it failed."""
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with (
        tempfile.TemporaryFile() as said,
        _process(docker.argv("load"), env=docker.env(), stderr=said, **given) as loader,
    ):
        with contextlib.suppress(BrokenPipeError), cast("IO[bytes]", loader.stdin) as into:  # its words say why
            for chunk in chunks(source):
                into.write(chunk)
                watch(len(chunk))
        if loader.wait():
            raise docker.complaint(_text(said))


def following(docker: Docker, *words: str, watch: Callable[[str], None]) -> tuple[int, str]:
    """Run a docker command that takes its time, each line of its output shown to `watch`; status and complaint."""
    with (
        tempfile.TemporaryFile() as said,
        _process(docker.argv(*words), env=docker.env(), stdout=subprocess.PIPE, stderr=said) as command,
    ):
        for line in out_of(command):
            watch(line.decode(errors="replace").strip())
        return command.wait(), _text(said)


def chunks(source: BufferedReader) -> Iterator[bytes]:
    """A stream in pieces. One call of the system each: between two of them Python hears a signal."""
    while chunk := source.read1(CHUNK):
        yield chunk


def pigz() -> bool:
    """Whether there is a gzip that uses all processors, and so is faster than most networks."""
    return shutil.which("pigz") is not None


def out_of(process: subprocess.Popen[bytes]) -> BufferedReader:
    """What it writes: it was started with a pipe."""
    return cast("BufferedReader", process.stdout)


@contextmanager
def _process(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, **options)  # what leaves the block early ends it
    try:
        yield process
    except BaseException:
        with contextlib.suppress(psutil.NoSuchProcess):
            stop([psutil.Process(process.pid)])
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace")
