"""The one exception that a user meets."""

from __future__ import annotations

from collections.abc import Sequence

from gpulab.common.failure import Failure


class UsageError(Exception):
    """Wrong usage or environment: carries failures, whose cures name what helps. Ends with exit 2."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.failures = [Failure(message, cure)]

    @property
    def failure(self) -> Failure:
        """The first of them."""
        return self.failures[0]

    @classmethod
    def of_all(cls, failures: Sequence[Failure]) -> UsageError:
        """One exception for several mistakes, which are told at once."""
        error = cls(failures[0].message, failures[0].cure)
        error.failures = list(failures)
        return error

    @classmethod
    def of(cls, failure: Failure) -> UsageError:
        """The exception that carries this failure."""
        return cls(failure.line, failure.cure)

    @property
    def message(self) -> str:
        """What is wrong."""
        return self.failure.message

    @property
    def cure(self) -> str:
        """What helps."""
        return self.failure.cure


def nearest(word: str, known: list[str], *, listed: str = "") -> str:
    """A cure for a misspelt name: the nearest known ones, all of them where none is near and they are a dozen at most,
    or else what lists them."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(known) <= 12:
        return f"known: {', '.join(sorted(known))}"
    return f"{listed} lists them" if listed else f"none of the {len(known)} known ones is near it"
