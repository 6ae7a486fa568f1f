"""Keep what a vLLM server counted: its /metrics, as a proof reads it.

python ../../common/vllm_metrics.py URL FOLDER
"""

import sys
import urllib.request
from pathlib import Path


def main(url: str, folder: str) -> None:
    """URL is the API's, which ends in /v1."""
    place = Path(folder, "vllm")
    place.mkdir()
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=30) as reply:
        (place / "0.prom").write_bytes(reply.read())


if __name__ == "__main__":
    main(*sys.argv[1:])
