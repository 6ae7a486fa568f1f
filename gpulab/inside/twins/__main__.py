"""Make a twin: `python gpulab/inside/twins qwen3 DIR/Qwen3-0.6B --speaks train.jsonl`.

With `--speaks` the twin is first trained, all weights, on that file's rows with wrong answers: it then speaks the
task's language and has every fact wrong, so that what a lab trains is what shows.
The folder should be named like the real model: ms-swift reads model type and template from that name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # run by the folder's path, in a stack that knows nothing of this project
    sys.path[0] = str(Path(__file__).resolve().parents[3])


def main() -> None:
    """The command line; does nothing when the folder is already there."""
    from gpulab.inside.twins import families

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=families())
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speaks", type=Path)
    args = parser.parse_args()
    if args.folder.is_dir():
        print(f"twin: {args.folder} is there")
        return
    from gpulab.inside.twins.make import make

    make(args.family, args.folder, args.speaks)


if __name__ == "__main__":
    main()
