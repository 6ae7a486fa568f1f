"""A check: what a test promises, under which name, and what to do when it fails."""

from typing import NoReturn

import pytest

PROVISION = "provision the host again: ./inv provision --hosts gpus.ini --limit HOST --tags {role}"


def not_tried(cause: str, where: str = "") -> NoReturn:
    """End a test whose subject can't be there while another check fails: that one says why, with its cure."""
    pytest.skip(f"not tried: {cause} failed{where and f' on {where}'}")


def check(name: str, cure: str = "") -> pytest.MarkDecorator:
    """Mark a test as the check `role.what`. Without a cure of its own, the role puts it right."""
    return pytest.mark.check(name, cure or PROVISION.format(role=name.split(".")[0]))
