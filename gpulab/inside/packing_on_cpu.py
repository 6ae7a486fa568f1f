"""Packing and padding-free batches on a CPU: a rehearsal's `--external_plugins`.

ms-swift asks for FlashAttention, whose kernels keep the samples of a row apart. transformers' masks of sdpa do so, too,
by the positions that begin anew with each sample; there are no kernels for a CPU.
"""

from __future__ import annotations

from typing import Any

from swift.arguments import SftArguments


def _allowed(self: Any) -> None:
    self.padding_free = self.padding_free or self.packing


SftArguments._check_padding_free = _allowed
