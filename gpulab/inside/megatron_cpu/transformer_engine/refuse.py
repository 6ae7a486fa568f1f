"""What the stand-in can't do is refused by name: a rehearsal that left it out without a word would prove nothing."""

from __future__ import annotations

from typing import Any, NoReturn


def refuse(what: str) -> NoReturn:
    """Raise NotImplementedError, naming what was asked for."""
    raise NotImplementedError(f"a rehearsal of Megatron on a CPU has no {what}: leave it out, or run it on GPUs")


def refused(what: str) -> Any:
    """A class that refuses to be made."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        refuse(what)

    return type("Refused", (), {"__init__": init})
