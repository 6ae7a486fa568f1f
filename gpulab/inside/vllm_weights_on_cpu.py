"""GRPO with vLLM in the training's own process, on a CPU: a rehearsal's `--external_plugins`.

Every few steps the trained weights are loaded into vLLM again. On a CPU it has packed the first ones for oneDNN and let
go of them, and there is nothing to load into; without oneDNN it keeps them, and multiplies by PyTorch.
"""

import vllm._custom_ops

vllm._custom_ops._supports_onednn = False
