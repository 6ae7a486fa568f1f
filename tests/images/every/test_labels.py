"""An image says what it is."""

from __future__ import annotations

from tests.images.box import Box


def test_the_labels_name_stack_lock_and_base(here: Box) -> None:
    labels = here.config["Labels"]
    assert labels["gpulab.stack"] == here.image.stack.name
    assert labels["gpulab.lock"] == here.image.stack.key
    assert labels["org.opencontainers.image.version"] == here.image.key
    assert labels["org.opencontainers.image.base.name"]
