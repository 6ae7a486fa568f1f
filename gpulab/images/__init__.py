"""Images of the stacks: built, named, distributed."""
