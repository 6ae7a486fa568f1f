"""A reward function of one's own: ms-swift calls it with the completions of a batch and gets a reward for each."""

import re

from swift.rewards import ORM, orms


class Boxed(ORM):
    """1 for a completion that is one \\boxed{...} and nothing else, else 0."""

    def __call__(self, completions: list[str], **_: object) -> list[float]:
        """completions: the answers of one batch, as text."""
        return [float(bool(re.search(r"\\boxed\{[^{}]+\}\s*$", c.strip()))) for c in completions]


orms["boxed"] = Boxed
