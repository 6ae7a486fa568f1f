"""The program behind ./inv: invoke on this repository's tasks.py, with exit 2 and a hint for wrong usage."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # instead of gpulab/, so that this runs from any directory, wherever the repository was moved

from invoke.collection import Collection  # noqa: E402
from invoke.exceptions import ParseError  # noqa: E402
from invoke.program import Program  # noqa: E402

from gpulab.common.errors import nearest  # noqa: E402


class Lab(Program):
    """Invoke's program; a wrong verb or flag ends with exit 2 and the nearest right one."""

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            print(f"error: {error}", file=sys.stderr)
            word = self.core.unparsed[0] if self.core.unparsed else ""
            known = sorted(self.collection.task_names)
            print(f"  cure: {f'inv --help {word}' if word in known else nearest(word, known)}", file=sys.stderr)
            raise SystemExit(2) from None

    def no_tasks_given(self) -> None:
        """Bare `inv`: the verbs by what one wants to do."""
        import tasks
        from gpulab.verbs.overview import overview

        print(overview(tasks.GROUPS))
        raise SystemExit(0)


def main() -> None:
    """Run the verb named on the command line."""
    import tasks

    Lab(namespace=Collection.from_module(tasks), name="inv", binary="inv").run()


if __name__ == "__main__":
    main()
