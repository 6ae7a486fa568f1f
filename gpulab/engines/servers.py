"""A run's servers: each is up from its own step until its last user is done."""

from __future__ import annotations

from gpulab.engines.backend import Job


class Servers:
    """The servers that run now, by their steps' names."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def add(self, step: str, job: Job) -> None:
        """A server was started."""
        self._jobs[step] = job

    def job(self, step: str) -> Job:
        """A server's job."""
        return self._jobs[step]

    def names(self) -> list[str]:
        """Which there are."""
        return list(self._jobs)

    def beside(self, job: Job) -> list[Job]:
        """A job, and the servers beside it."""
        return [job, *(server for server in self._jobs.values() if server is not job)]

    def dead(self) -> str | None:
        """The first that ended by itself."""
        return next((name for name, job in self._jobs.items() if job.poll() is not None), None)

    def stop(self, step: str) -> None:
        """Stop one."""
        self._jobs.pop(step).stop()

    def stop_all(self) -> None:
        """Stop them all."""
        for step in self.names():
            self.stop(step)
