"""docker/stacks.yml, its locks and the venvs made of them."""
