"""The program behind ./inv: invoke on this repository's tasks.py, with exit 2 and a hint for wrong usage."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # instead of gpulab/, so that this runs from any directory, wherever the repository was moved

from invoke.collection import Collection  # noqa: E402
from invoke.exceptions import Exit, ParseError  # noqa: E402
from invoke.parser import Parser  # noqa: E402
from invoke.program import Program  # noqa: E402

from gpulab.common.failure import Failure  # noqa: E402
from gpulab.common.output import protect, unwritten  # noqa: E402
from gpulab.verbs.command_line import asking_help, explained, mistake, named, own  # noqa: E402


class Lab(Program):
    """Invoke's program; a wrong verb or option ends with exit 2 and the nearest right one."""

    def parse_core(self, argv: list[str] | None) -> None:
        try:
            super().parse_core(argv)
        except ParseError as error:  # an option of invoke's own without its value
            refuse(*explained(str(error), [], {}))

    @cache  # noqa: B019 (one program, to its end)
    def _make_parser(self) -> Parser:
        """One for both who read the words: while a parser is made, invoke takes the options' help out of the verbs."""
        return super()._make_parser()

    def parse_tasks(self) -> None:
        words = self.core.unparsed
        try:
            verbs = self._make_parser().contexts
            if words and words[0] in verbs:
                words[:] = named(words, verbs, getattr(self.collection[words[0]], "options", ()))
            if wrong := mistake(words, verbs):
                refuse(*wrong)
            super().parse_tasks()
        except ParseError as error:
            options = self.collection[words[0]].options if words and words[0] in verbs else ()
            refuse(*explained(str(error), words, verbs, options))
        if len(self.tasks) > 1:
            refuse(f"one verb at a time: {' and '.join(str(task.name) for task in self.tasks)}", "call ./inv for each")

    def parse_cleanup(self) -> None:
        try:
            super().parse_cleanup()
        except Exit as error:
            if error.message:
                refuse(error.message, "./inv --list")
            raise
        except ParseError as error:
            refuse(*explained(str(error), [], self._make_parser().contexts))

    def print_task_help(self, name: str) -> None:
        """A page of this project's own: invoke's knows neither places nor defaults, and more verbs than one."""
        from gpulab.verbs.help_page import help_page
        from gpulab.verbs.verb import COMMON

        verb = self.collection[name]
        print(help_page(verb, [*verb.options, *COMMON]))

    def print_help(self) -> None:
        """`inv --help`: what bare `inv` prints."""
        self.no_tasks_given()

    def no_tasks_given(self) -> None:
        """Bare `inv`: the verbs by what one wants to do."""
        import tasks
        from gpulab.verbs.overview import overview

        print(overview(tasks.GROUPS))
        raise SystemExit(0)


def refuse(message: str, cure: str) -> NoReturn:
    """End with exit 2: two lines, or with --json one object."""
    failure = Failure(message, cure)
    if "--json" in own(sys.argv):
        said = {"ok": False, "failures": [str(failure)], "details": [failure.as_dict()], "cure": cure}
        print(json.dumps(said))
    else:
        print(f"error: {message}", f"  cure: {cure}", sep="\n", file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    """Run the verb named on the command line."""
    import tasks

    protect()
    try:
        verbs = Collection.from_module(tasks)
        words = asking_help(sys.argv[1:], verbs.task_names)
        Lab(namespace=verbs, name="inv", binary="inv").run([sys.argv[0], *words])
    finally:
        if why := unwritten():
            print(f"error: standard output cannot be written: {why}", file=sys.stderr)
            print("  cure: free space there, or let it go elsewhere", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
