"""./inv on a folder of labs of the tests' own: python -m tests.testbed.inv_on_labs FOLDER VERB ...

TESTS_QUIET: after so many seconds without a line a job's nodes are asked whether they reach each other.
"""

import os
import sys
from pathlib import Path

from gpulab import __main__
from gpulab.engines import slurm_shell
from gpulab.lab import lab
from gpulab.reports import labs as listing


def main() -> None:
    lab.LABS = listing.LABS = Path(sys.argv.pop(1)).absolute()
    slurm_shell.QUIET = float(os.environ.get("TESTS_QUIET", slurm_shell.QUIET))
    __main__.main()


if __name__ == "__main__":
    main()
