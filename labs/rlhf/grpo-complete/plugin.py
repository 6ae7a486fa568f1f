"""What is sampled for, rewarded and counted.

ms-swift calls a reward function in two ways: `swift sample` with its requests, GRPO with completions and columns of the
data.
"""

from rules import form, right
from swift.rewards import ORM, orms


class Form(ORM):
    """What `swift sample` keeps: each request is the question with one of its samples as the last message."""

    def __call__(self, infer_requests: list, **_: object) -> list[float]:
        """See the class."""
        return [form(request.messages[-1]["content"]) for request in infer_requests]


class Anything(ORM):
    """1 for whatever was said: what happens without rejection."""

    def __call__(self, infer_requests: list, **_: object) -> list[float]:
        """See Form."""
        return [1.0 for _ in infer_requests]


class Right(ORM):
    """What GRPO rewards: the answers that are right, in their box."""

    def __call__(self, completions: list[str], solution: list[str], **_: object) -> list[float]:
        """solution: a column of the data."""
        return [right(*one) for one in zip(completions, solution, strict=True)]


orms["form"] = Form
orms["anything"] = Anything
orms["right"] = Right
