"""Which positions a rank of a context parallel group holds: of each sequence a piece from its head and one from its
tail, so that all have as much to do (megatron/core/utils.py, get_batch_on_this_cp_rank)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch


def held(starts: Sequence[int], total: int, size: int, rank: int) -> torch.Tensor:
    """The positions that `rank` of `size` holds, in its own order; what follows the last sequence is one more."""
    ends = [*starts, *([total] if starts[-1] < total else [])]
    pieces = []
    for begin, end in pairwise(ends):
        if size == 1:
            pieces.append(torch.arange(begin, end))
            continue
        piece = (end - begin) // (2 * size)
        mine = (begin + number * piece for number in (rank, 2 * size - 1 - rank))
        pieces += [torch.arange(start, start + piece) for start in mine]
    return torch.cat(pieces)


def segments(starts: Sequence[int], positions: torch.Tensor) -> torch.Tensor:
    """The number of the sequence that each position belongs to."""
    return torch.searchsorted(torch.tensor(list(starts[1:])), positions, right=True)
