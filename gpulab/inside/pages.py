"""`swift web-ui` and `swift app`, which come up on a busy machine and behind a proxy, too.

    python pages.py web-ui --server_port 7860

gradio asks its page once, through the proxy of the environment, and ends where no answer comes within 3 s: ms-swift's
page of megabytes takes longer on a busy machine.
"""

import os
import sys

from gradio import networking

HERE = "127.0.0.1,localhost"


def main(page: str, *words: str) -> None:
    """Serve the page until it is stopped."""
    beyond = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{beyond},{HERE}" if beyond else HERE
    networking.url_ok = lambda _: True
    if page == "web-ui":
        from swift.ui import webui_main as serve
    else:
        from swift.pipelines import app_main as serve
    serve(list(words))


if __name__ == "__main__":
    main(*sys.argv[1:])
