"""ms-swift's pages."""

from __future__ import annotations

import pytest

from tests.images.box import Box
from tests.wait import wait_until

PAGE = "http://127.0.0.1:7860"
ASK = f"import urllib.request as r; print(r.urlopen({PAGE!r}, timeout=9).read().decode())"


def test_what_the_pages_import_is_there(here: Box) -> None:
    assert here.ask("imports.py", "torch", "swift", "gradio", "deepspeed", "liger_kernel", "bitsandbytes") == {}


@pytest.mark.parametrize(
    "command", ["swift web-ui --lang en", "swift app --model some/model --base_url http://127.0.0.1:9/v1"]
)
def test_a_page_comes_up_without_a_gpu_and_the_health_check_sees_it(broken: Box, command: str) -> None:
    check = f"SERVES={PAGE}; export SERVES; {broken.config['Healthcheck']['Test'][1]}"
    assert broken.run("sh", "-c", check).returncode != 0
    broken.run("sh", "-c", f"{command} --server_name 127.0.0.1 --server_port 7860 >page.log 2>&1 &")
    wait_until(lambda: broken.run("sh", "-c", check).returncode == 0, f"the page of {command}", timeout=300, every=2)
    assert "gradio" in broken.python(ASK)
