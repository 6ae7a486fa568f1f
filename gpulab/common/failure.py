"""What went wrong, what helps, and where: the one form in which every part of the lab tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """`message` says what happened, `cure` what helps, `where` on which host, in which step or file."""

    message: str
    cure: str = ""
    where: str = ""

    @property
    def line(self) -> str:
        """Where and what, without the cure."""
        return f"{self.where}: {self.message}" if self.where else self.message

    def __str__(self) -> str:
        """All of it in one line, for records and --json."""
        return f"{self.line} (cure: {self.cure})" if self.cure else self.line

    def as_dict(self) -> dict[str, str]:
        """Its parts, for --json."""
        return {"where": self.where, "message": self.message, "cure": self.cure}
