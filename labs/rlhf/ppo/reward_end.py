"""PPO reads a reward at `<|im_end|>`, the last token that the policy says.

Qwen's template ends a turn with a newline behind it, so `rlhf_type: rm` teaches the reward there, where PPO never
looks: without this plugin rewards are by chance.
"""

from swift.template.register import TEMPLATE_MAPPING

TEMPLATE_MAPPING["qwen3"].suffix = ["<|im_end|>"]
