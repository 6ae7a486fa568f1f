"""Attention with a dense mask. Context parallelism gathers keys and values, where TransformerEngine passes them on."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ...refuse import refuse
from .positions import held, segments


class DotProductAttention(torch.nn.Module):
    """See the module."""

    def __init__(
        self, num_attention_heads: int, kv_channels: Any, num_gqa_groups: int | None = None,
        attention_dropout: float = 0.0, attn_mask_type: str = "causal", cp_group: Any = None,
        softmax_scale: float | None = None, softmax_type: str = "vanilla", window_size: Any = None,
        return_max_logit: bool = False, get_rng_state_tracker: Any = None, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if window_size is not None and tuple(window_size) not in ((-1, -1), (-1, 0)):
            refuse("sliding window attention (window_size)")
        if softmax_type != "vanilla":
            refuse(f"softmax of the type {softmax_type}")
        if return_max_logit:
            refuse("qk-clip")
        self.attention_dropout, self.cp_group, self.softmax_scale = attention_dropout, cp_group, softmax_scale
        self.attn_mask_type, self._tracker = attn_mask_type, get_rng_state_tracker

    def set_context_parallel_group(self, group: Any, *more: Any) -> None:
        """Where it changes from batch to batch."""
        self.cp_group = group

    def forward(
        self, query: Any, key: Any, value: Any, attention_mask: Any = None, qkv_format: str | None = None,
        attn_mask_type: str | None = None, core_attention_bias: Any = None, window_size: Any = None,
        cu_seqlens_q: Any = None, cu_seqlens_q_padded: Any = None, **more: Any,
    ) -> Any:  # fmt: skip
        """[s, b, heads * channels], or [t, heads * channels] of packed sequences (thd)."""
        from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region

        if core_attention_bias is not None:
            refuse("attention bias")
        if window_size is not None and tuple(window_size) not in ((-1, -1), (-1, 0)):
            refuse("sliding window attention (window_size)")
        packed, kind = qkv_format == "thd", attn_mask_type or self.attn_mask_type
        length = query.shape[0]
        group, size, rank = self.cp_group, 1, 0
        if group is not None:
            size, rank = group.size(), group.rank()
        if packed:
            starts = (cu_seqlens_q if cu_seqlens_q_padded is None else cu_seqlens_q_padded).tolist()
            query, key, value = (t.unsqueeze(1) for t in (query, key, value))
        else:
            starts = [0, length * size]
        mine = held(starts, length * size, size, rank)
        theirs = torch.cat([held(starts, length * size, size, other) for other in range(size)])
        if size > 1:
            key, value = (gather_from_sequence_parallel_region(t.contiguous(), group=group) for t in (key, value))
        elif not packed:
            theirs = torch.arange(key.shape[0])
        seen = torch.ones(len(mine), len(theirs), dtype=torch.bool)
        if "causal" in kind:
            seen &= mine[:, None] + (len(theirs) - len(mine) if size == 1 else 0) >= theirs[None, :]
        if packed:
            seen &= segments(starts, mine)[:, None] == segments(starts, theirs)[None, :]
        if attention_mask is not None and kind in ("arbitrary", "padding", "padding_causal") and not packed:
            hidden = attention_mask[0] if isinstance(attention_mask, tuple) else attention_mask
            seen = seen & ~hidden.bool()
        dropout = self.attention_dropout if self.training else 0.0
        heads = [t.permute(1, 2, 0, 3) for t in (query, key, value)]
        done = F.scaled_dot_product_attention(
            *heads, attn_mask=seen, dropout_p=dropout, scale=self.softmax_scale, enable_gqa=True
        )
        done = done.permute(2, 0, 1, 3).flatten(2)
        return done.squeeze(1) if packed else done.contiguous()
