"""A run's files on a host. They travel through Docker's own connection, as a tar; a container of the stack's image
that has no network reads and writes them there.

Only files up to a size come back: weights stay where they were trained.
"""

from __future__ import annotations

import io
import secrets
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from gpulab.common.docker import Docker
from gpulab.engines import shell
from gpulab.engines.backend import no_program
from gpulab.hosts.compute_node import ComputeNode
from gpulab.plan.container import Place, helper_words, module_words, shipped
from gpulab.plan.plan import Plan

FETCHED_MIB = 64  # files up to this size come back


class Asked(Protocol):
    """What can be asked of a module of the lab's own."""

    def to_json(self) -> str:
        """As the module reads it."""


def fetch_words(run: Path, step: str) -> tuple[str, list[str]]:
    """The script that packs the files of a step's folder that are not too big, and its arguments."""
    return shell.text("fetch.sh"), [str(run), step, str(FETCHED_MIB)]


def unpack(data: bytes, plan: Plan) -> None:
    """Put the files of a tar into the run's folder here."""
    if data:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(plan.run, filter="data")


class HostFiles:
    """The files of runs in a host's shared folder."""

    def __init__(self, docker: Docker, compute_node: ComputeNode, image: str) -> None:
        self._docker, self._image = docker, image
        self._user, self._shared = compute_node.user, compute_node.shared
        self._owner = secrets.token_hex(8)  # runs of two people that begin in the same second have one name
        self._begun = False

    def folder(self, run: Path) -> Path:
        """A run's folder on the host."""
        return self._shared / "runs" / run.parent.name / run.name

    def begin(self, plan: Plan, folders: Sequence[str]) -> None:
        """Put what a run reads into its new folder on the host, and make these folders below it. Raises UsageError
        where the folder is there already, and where the image lacks one of the plan's programs: the container that
        unpacks has them at hand."""
        self._begun = True
        script = shell.text("lacks.sh") + shell.text("new.sh") + shell.text("unpack.sh")
        words = [*plan.programs, "--", self._owner, str(self.folder(plan.run)), *folders]
        if program := self._put(shipped(plan), script, words):
            raise no_program(plan, plan.starting(program))

    def ship(self, plan: Plan, files: Sequence[tuple[Path, str]]) -> None:
        """Put files into the run's folder on the host, by names relative to it."""
        self._put(files, shell.text("unpack.sh"), [str(self.folder(plan.run)), "."])

    def _put(self, files: Sequence[tuple[Path, str]], script: str, words: Sequence[str]) -> str:
        with self._tar(self._shared, script, words) as (into, out):
            with suppress(BrokenPipeError):  # it ended early, and says why
                with tarfile.open(fileobj=into, mode="w|", dereference=True) as tar:  # a cache's files are links
                    for file, name in files:
                        tar.add(file, name)
                into.close()
            return out.read().decode().strip()

    def fetch(self, plan: Plan, step: str) -> None:
        """Bring the files of a step's folder that are not too big."""
        run = self.folder(plan.run)
        with self._tar(run, *fetch_words(run, step)) as (into, out):
            into.close()
            data = out.read()
        unpack(data, plan)

    def discard(self, plan: Plan) -> None:
        """Remove the run's folder on the host, where this run began it."""
        if not self._begun:
            return
        words = [self._owner, str(self.folder(plan.run))]
        with self._tar(self._shared, shell.text("discard.sh"), words) as (into, _):
            into.close()

    def ask(self, place: Place, module: str, question: Asked) -> str:
        """What a module of the lab's own answers on the host: at a command's place, without network."""
        done = subprocess.run(
            self._docker.argv("run", "--interactive", *module_words(place), "-m", module), env=self._docker.env(),
            input=question.to_json(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise self._docker.complaint(done.stderr)
        return done.stdout

    @contextmanager
    def _tar(self, folder: Path, script: str, arguments: Sequence[str]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """A shell script in a container that sees a folder, its input and output. Raises UsageError when it fails."""
        words = helper_words(self._image, self._user, "sh", ["--volume", f"{folder}:{folder}"])
        process = subprocess.Popen(
            self._docker.argv("run", "--interactive", *words, "-c", script, "_", *arguments), env=self._docker.env(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 (pipes, see above)
        try:
            yield process.stdin, process.stdout
        except BrokenPipeError:
            pass  # it ended early; its complaint says why
        finally:
            complaint = process.stderr.read().decode(errors="replace")
            if process.wait():
                raise self._docker.complaint(complaint)
