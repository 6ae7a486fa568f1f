"""A twin is made in its stack: tokenizer, model, teaching, and all of it in one folder."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

from gpulab.inside.twins.teaching import answered, rows_of, teach_to_speak, texts_in


class Family(Protocol):
    """What a module of `families/` holds. One that takes more than text also holds `processor(tokenizer)`, and
    `teach(model, processor, rows)`, which returns what it came to."""

    def tokenizer(self, texts: list[str]) -> Any:
        """The tokenizer, learned from these texts."""

    def model(self, vocab_size: int) -> Any:
        """The model with random weights."""


def make(family: str, folder: Path, speaks: Path | None, seed: int = 42) -> None:
    """Write the twin to `folder`, whole or not at all. Raises ModuleNotFoundError for an unknown family."""
    import torch
    from transformers import GenerationConfig

    of: Family = importlib.import_module(f"gpulab.inside.twins.families.{family}")
    torch.manual_seed(seed)
    rows = rows_of(speaks) if speaks else []
    tok = of.tokenizer(texts_in(rows) or ["Who are you?", "A tiny twin."])
    model = of.model(len(tok))
    reads = of.processor(tok) if hasattr(of, "processor") else tok
    if taught := answered(rows):
        print(f"twin: {getattr(of, 'teach', teach_to_speak)(model, reads, taught)}")
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id
    )
    save(folder, model, reads)
    print(f"twin: {sum(p.numel() for p in model.parameters()):,} parameters, {len(tok)} tokens -> {folder}")


def save(folder: Path, *parts: Any) -> None:
    """Each part's save_pretrained, into a draft beside `folder` that takes its name when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        for part in parts:
            part.save_pretrained(draft)
        draft.chmod(0o755)
        draft.rename(folder)  # fails if another process was first: theirs is the same twin
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
