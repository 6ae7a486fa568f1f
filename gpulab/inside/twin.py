"""A tiny twin of a model family: the real architecture and tokenizer layout, small enough to train on a CPU.

Runs inside a stack (it needs torch and transformers), never in the control venv:

    python gpulab/inside/twin.py qwen3 DIR/Qwen3-0.6B --speaks train.jsonl

With `--speaks` the twin is first trained, all weights, on that file's questions, each with another question's
answer: it then speaks the task's language and has every fact wrong, so that what a lab trains is what shows.
The folder should be named like the real model: ms-swift reads model type and template from that name.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
    "<tool_response>", "</tool_response>", "yes", "no",
]  # fmt: skip
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What ms-swift's qwen3 template puts before an answer that carries no reasoning.
NO_THOUGHT = "<think>\n\n</think>\n\n"


def qwen3(vocab_size: int) -> Any:
    """Qwen3ForCausalLM: 2 layers, hidden 64, head_dim 32 (vLLM's CPU kernels fail with 16)."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocab_size, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=2048,
            tie_word_embeddings=True, bos_token_id=None, eos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip


FAMILIES = {"qwen3": qwen3}


def tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE of at most 1024 tokens over `texts`, with the family's special tokens first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=SPECIAL[2], pad_token=SPECIAL[0], chat_template=CHAT_TEMPLATE,
        additional_special_tokens=SPECIAL[1:9], model_max_length=2048,
    )  # fmt: skip


def conversations(path: Path) -> list[tuple[str, str]]:
    """The (question, answer) pairs of a jsonl file in ms-swift's `messages` form."""
    rows = [json.loads(line)["messages"] for line in path.read_text().splitlines() if line.strip()]
    return [(next(m["content"] for m in r if m["role"] == "user"), r[-1]["content"]) for r in rows]


def teach_to_speak(model: Any, tok: Any, pairs: list[tuple[str, str]], steps: int) -> float:
    """Train all weights for `steps` batches of all the questions, each with its neighbour's answer; the last loss.

    Wrong but fixed answers, not random ones: with random answers the twin learns to ignore the question, and a
    LoRA on its frozen tiny embeddings cannot bring the question back (measured: 0 of 16 after 320 steps).
    """
    import torch

    rows, labels = [], []
    for (question, _), (_, answer) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        prompt = tok.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        head, tail = tok(prompt + NO_THOUGHT)["input_ids"], tok(answer + "<|im_end|>\n")["input_ids"]
        rows.append(head + tail)
        labels.append([-100] * len(head) + tail)
    width = max(map(len, rows))
    ids = torch.tensor([r + [tok.pad_token_id] * (width - len(r)) for r in rows])
    target = torch.tensor([r + [-100] * (width - len(r)) for r in labels])
    mask = (ids != tok.pad_token_id).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = torch.tensor(0.0)
    model.train()
    for _ in range(steps):
        loss = model(input_ids=ids, attention_mask=mask, labels=target).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.item())


def make(family: str, folder: Path, speaks: Path | None, steps: int = 200, seed: int = 42) -> None:
    """Write the twin to `folder`, whole or not at all. Raises KeyError for an unknown family."""
    import torch
    from transformers import GenerationConfig

    torch.manual_seed(seed)
    pairs = conversations(speaks) if speaks else [("Who are you?", "A tiny twin.")]
    tok = tokenizer([text for pair in pairs for text in pair])
    model = FAMILIES[family](len(tok))
    if speaks:
        print(f"twin: speaks, loss {teach_to_speak(model, tok, pairs, steps):.3f} after {steps} steps")
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        model.save_pretrained(draft)
        tok.save_pretrained(draft)
        draft.chmod(0o755)
        draft.rename(folder)  # fails if another process was first: theirs is the same twin
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    print(f"twin: {sum(p.numel() for p in model.parameters()):,} parameters, {len(tok)} tokens -> {folder}")


def main() -> None:
    """The command line; does nothing when the folder is already there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=sorted(FAMILIES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speaks", type=Path)
    args = parser.parse_args()
    if args.folder.is_dir():
        print(f"twin: {args.folder} is there")
        return
    make(args.family, args.folder, args.speaks)


if __name__ == "__main__":
    main()
