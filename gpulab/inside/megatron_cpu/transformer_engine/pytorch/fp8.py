"""fp8: never on, refused when asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..refuse import refuse


class FP8GlobalStateManager:
    """Says that fp8 is off."""

    @staticmethod
    def is_fp8_enabled() -> bool:
        """Never."""
        return False

    @staticmethod
    def reset() -> None:
        """Nothing to forget."""


@contextlib.contextmanager
def fp8_autocast(enabled: bool = False, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Nothing, or refused."""
    if enabled:
        refuse("fp8")
    yield


fp8_model_init = fp8_autocast
