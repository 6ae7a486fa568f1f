"""A reward for programs: each is run against the tests of its task, in a process of its own, and has to end in time.

A limit of time and memory is no sandbox: a program may read and write what its user may. Run models that you don't
trust in a container (--engine docker), or with upstream's reward functions, which send programs to a service.
"""

import json
import re
import resource
import subprocess
import sys
import tempfile
from functools import cache

from swift.rewards import ORM, orms

SECONDS, BYTES = 5, 2**30


def limited() -> None:
    """For a child before its program: so much processor time and memory, and no file longer than a megabyte."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))


@cache
def passes(program: str, given: str, wanted: str) -> bool:
    """Whether the program, given that on stdin, prints what is wanted and ends well."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-S", "-c", program], input=given, capture_output=True, text=True,
                timeout=SECONDS, cwd=folder, env={}, preexec_fn=limited,
            )  # fmt: skip
        except (subprocess.TimeoutExpired, UnicodeDecodeError, ValueError):
            return False
    return ended.returncode == 0 and ended.stdout.split() == wanted.split()


class Program(ORM):
    """The share of a task's tests that the last ```python block of a completion passes."""

    def __call__(self, completions: list[str], verification_info: list, **_: object) -> list[float]:
        """verification_info: the column of the data, in the form of open-r1's coding problems."""
        return [self.share(said, info) for said, info in zip(completions, verification_info, strict=True)]

    @staticmethod
    def share(said: str, info: dict | str) -> float:
        """Of one completion."""
        blocks = re.findall(r"```python\n(.*?)```", said, re.DOTALL)
        cases = (json.loads(info) if isinstance(info, str) else info)["test_cases"]
        if not blocks:
            return 0.0
        return sum(passes(blocks[-1], case["input"], case["output"]) for case in cases) / len(cases)


class Block(ORM):
    """1 for a completion with a ```python block, whatever stands in it: what happens when nothing is run."""

    def __call__(self, completions: list[str], **_: object) -> list[float]:
        """See Program."""
        return [float("```python\n" in said) for said in completions]


orms["program"] = Program
orms["block"] = Block
