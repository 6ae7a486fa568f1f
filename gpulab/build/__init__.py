"""`inv build`: images of the stacks, with what proves what is in them."""
