"""Bytes from one program to another, counted on the way; a program that fails says so in docker's complaints."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import psutil

from gpulab.docker import Docker
from gpulab.errors import UsageError
from gpulab.processes import stop

CHUNK = 1 << 20
Watch = Callable[[int], None]


@contextmanager
def saving(docker: Docker, tags: Sequence[str], squeeze: bool) -> Iterator[IO[bytes]]:
    """`docker save` as a stream, gzipped where asked. Raises UsageError when it failed."""
    with tempfile.TemporaryFile() as said, running(docker, "save", *tags, stdout=subprocess.PIPE, stderr=said) as saver:
        assert saver.stdout
        if squeeze:
            with _process(["pigz" if pigz() else "gzip", "-1"], stdin=saver.stdout, stdout=subprocess.PIPE) as gzip:
                saver.stdout.close()  # gzip's alone, so that docker learns of gzip's end
                assert gzip.stdout
                yield gzip.stdout
                if gzip.wait():
                    raise UsageError(f"{gzip.args[0]} ended with {gzip.returncode}", "write a .tar, uncompressed")
        else:
            yield saver.stdout
        if saver.wait():
            raise docker.complaint(_text(said))


def loading(docker: Docker, source: IO[bytes], watch: Watch) -> None:
    """Feed `docker load` from `source`. Raises UsageError when it failed."""
    with (
        tempfile.TemporaryFile() as said,
        running(docker, "load", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as loader,
    ):
        assert loader.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended early: its words say why
            for chunk in chunks(source):
                loader.stdin.write(chunk)
                watch(len(chunk))
            loader.stdin.close()
        if loader.wait():
            raise docker.complaint(_text(said))


def following(docker: Docker, *words: str, watch: Callable[[str], None]) -> tuple[int, str]:
    """Run a docker command that takes its time, each line of its output shown to `watch`; status and complaint."""
    with (
        tempfile.TemporaryFile() as said,
        running(docker, *words, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace") as command,
    ):
        assert command.stdout
        for line in command.stdout:
            watch(line.strip())
        return command.wait(), _text(said)


def chunks(source: IO[bytes]) -> Iterator[bytes]:
    """A stream in pieces."""
    while chunk := source.read(CHUNK):
        yield chunk


def pigz() -> bool:
    """Whether there is a gzip that uses all processors, and so is faster than most networks."""
    return shutil.which("pigz") is not None


@contextmanager
def running(docker: Docker, *words: str, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A docker command; what leaves the block early ends it."""
    with _process(docker.argv(*words), env=docker.env(), **options) as process:
        yield process


@contextmanager
def _process(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    process = subprocess.Popen(argv, **options)
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
