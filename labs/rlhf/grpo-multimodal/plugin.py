"""A reward for what was said of a picture: `solution`, a column of the data, says what it shows."""

import re

from swift.rewards import ORM, orms


def final(said: str) -> str:
    """The answer in its tags, or, without tags, all of it."""
    found = re.search(r"<answer>(.*?)</answer>", said, re.DOTALL)
    return (found[1] if found else said).strip()


class Seen(ORM):
    """1 where the answer is the picture's."""

    def __call__(self, completions: list[str], solution: list[str], **_: object) -> list[float]:
        """solution: with or without the tags."""
        return [float(final(said) == final(wanted)) for said, wanted in zip(completions, solution, strict=True)]


class Short(ORM):
    """1 for a short answer, whatever the picture shows: what happens when nobody looks at it."""

    def __call__(self, completions: list[str], **_: object) -> list[float]:
        """See Seen."""
        return [float(len(said) < 40) for said in completions]


orms["seen"] = Seen
orms["short"] = Short
