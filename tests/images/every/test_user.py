"""Nobody is root, and whoever the container runs as has a name and a place to write."""

from __future__ import annotations

import pytest

from tests.images.box import Box

UNKNOWN = "54321:54321"  # a caller whom the image has never heard of


def test_the_images_own_user_is_not_root(here: Box) -> None:
    assert here.config["User"] not in ("", "0", "root")
    assert here.run("id", "-u").stdout.strip() != "0"


@pytest.mark.parametrize("user", ["", UNKNOWN])
def test_the_user_has_a_name_and_a_home_to_write_in(here: Box, user: str) -> None:
    code = (
        "import getpass, pathlib, tempfile; print(getpass.getuser(), tempfile.TemporaryFile(dir=pathlib.Path.home()))"
    )
    assert here.python(code, user=user)


def test_the_stack_itself_cannot_be_changed(here: Box) -> None:
    assert here.run("sh", "-c", "touch /opt/stack/bin/new", user=UNKNOWN).returncode != 0


def test_a_container_that_serves_nothing_is_healthy_and_one_whose_server_is_dead_is_not(here: Box) -> None:
    check = here.config["Healthcheck"]["Test"][1]
    assert here.run("sh", "-c", check).returncode == 0
    assert here.run("sh", "-c", f"SERVES=http://127.0.0.1:9/v1/models; export SERVES; {check}").returncode != 0
