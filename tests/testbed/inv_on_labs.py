"""./inv on a folder of labs of the tests' own: python -m tests.testbed.inv_on_labs FOLDER VERB ..."""

import sys
from pathlib import Path

from gpulab import __main__
from gpulab.lab import lab
from gpulab.reports import listings


def main() -> None:
    lab.LABS = listings.LABS = Path(sys.argv.pop(1)).absolute()
    __main__.main()


if __name__ == "__main__":
    main()
