"""What twins that look at pictures share: sizes, and how they are taught to speak of pictures without knowing them."""

from __future__ import annotations

from typing import Any

from gpulab.inside.twins.tokenizer import PLACES, WHOLE

# With the usual 0.02 such a twin never leaves the frequencies of single words (measured).
SPREAD = {"initializer_range": 0.1}
TEXT: dict[str, Any] = {
    "vocab_size": WHOLE, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 2048,
    "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": PLACES["<|im_end|>"],
    "pad_token_id": PLACES["<|endoftext|>"], **SPREAD,
}  # fmt: skip
VISION: dict[str, Any] = {
    "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "spatial_merge_size": 2,
    "temporal_patch_size": 2, **SPREAD,
}  # fmt: skip
WHOLE_MODEL: dict[str, Any] = {
    "image_token_id": PLACES["<|image_pad|>"], "video_token_id": PLACES["<|video_pad|>"],
    "vision_start_token_id": PLACES["<|vision_start|>"], "vision_end_token_id": PLACES["<|vision_end|>"],
    "tie_word_embeddings": True, **SPREAD,
}  # fmt: skip


def sizes(patch: int) -> dict[str, Any]:
    """What a processor of pictures or videos is told: a picture is 1 to 16 tokens, each of 2 x 2 patches."""
    token = 2 * patch
    return {
        "patch_size": patch, "merge_size": 2, "temporal_patch_size": 2,
        "size": {"shortest_edge": token * token, "longest_edge": 16 * token * token},
    }  # fmt: skip


def teach(model: Any, processor: Any, rows: list[dict[str, Any]], system: str, steps: int = 100) -> str:
    """Train all weights for `steps` batches of all the pictures, each with the next one's answer; the last loss.

    Wrong but fixed answers: with answers at random it learns not to look, and LoRA does not teach it to.
    """
    import torch
    from PIL import Image

    tok, asked, answers = processor.tokenizer, [], []
    for row in rows:
        asked.append(next(m["content"] for m in row["messages"] if m["role"] == "user"))
        answers.append(row["messages"][-1]["content"])
    pictures = [Image.open(row["images"][0]).convert("RGB") for row in rows]
    looked = processor.image_processor(images=pictures, return_tensors="pt")
    grids = looked["image_grid_thw"]
    ids, labels = [], []
    for question, answer, grid in zip(asked, answers[1:] + answers[:1], grids, strict=True):
        shown = f"<|vision_start|>{'<|image_pad|>' * (int(grid.prod()) // 4)}<|vision_end|>"
        head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
        head += f"<|im_start|>user\n{question.replace('<image>', shown)}<|im_end|>\n<|im_start|>assistant\n"
        prompt, said = tok(head)["input_ids"], tok(answer + "<|im_end|>")["input_ids"]
        ids.append(prompt + said)
        labels.append([-100] * len(prompt) + said)
    width = max(map(len, ids))
    padded = torch.tensor([row + [tok.pad_token_id] * (width - len(row)) for row in ids])
    target = torch.tensor([row + [-100] * (width - len(row)) for row in labels])[:, 1:]
    counts = target != -100  # so large a vocabulary is only asked where the answer stands
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = torch.tensor(0.0)
    model.train()
    for _ in range(steps):
        states = model.model(
            input_ids=padded,
            attention_mask=(padded != tok.pad_token_id).long(),
            pixel_values=looked["pixel_values"],
            image_grid_thw=grids,
            mm_token_type_ids=(padded == model.config.image_token_id).int(),
        ).last_hidden_state[:, :-1]
        loss = torch.nn.functional.cross_entropy(model.lm_head(states[counts]), target[counts])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return f"speaks of {len(rows)} pictures, loss {loss.item():.3f} after {steps} steps"
