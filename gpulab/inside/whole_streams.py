"""Streamed answers whole: an `--external_plugins` of `swift deploy`.

A streamer's first call tells only what the template begins an answer with, whatever tokens it is given, and leaves the
rest to the next call (ms-swift 4.6, swift/infer_engine/utils.py). vLLM gives a reader who is late several outputs in
one, and SGLang and LMDeploy may: where the first call is the last, the answer is lost.
"""

from __future__ import annotations

from typing import Any

from swift.infer_engine.utils import InferStreamer

_printable_text = InferStreamer.get_printable_text


def whole(self: Any, raw_tokens: list[int], is_finished: bool) -> str:
    """The text that is new; of a first call that is the last, the whole answer."""
    both = self.first_token and is_finished
    text: str = _printable_text(self, raw_tokens, is_finished)
    return text + _printable_text(self, raw_tokens, is_finished) if both else text


InferStreamer.get_printable_text = whole
