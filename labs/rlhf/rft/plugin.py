"""What is kept of the samples: ms-swift asks for a score of each, and keeps those above 0."""

import re

from swift.rewards import ORM, orms


class Boxed(ORM):
    """1 for an answer that is one \\boxed{...} and nothing else, else 0."""

    def __call__(self, infer_requests, **_):
        """infer_requests: the question with one of its samples as the last message."""
        said = (request.messages[-1]["content"] for request in infer_requests)
        return [float(bool(re.search(r"\\boxed\{[^{}]+\}\s*$", text.strip()))) for text in said]


class Anything(ORM):
    """1 for whatever was said: what happens without rejection."""

    def __call__(self, infer_requests, **_):
        """See Boxed."""
        return [1.0 for _ in infer_requests]


orms["boxed"] = Boxed
orms["anything"] = Anything
