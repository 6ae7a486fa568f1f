"""How a model is laid out over GPUs, and what that takes of their memory. Pure: asks no machine, runs nothing."""
