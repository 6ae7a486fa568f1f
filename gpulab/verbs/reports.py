"""The verbs that show runs as pages."""

from __future__ import annotations

from typing import Any

from gpulab.common.outcome import Outcome
from gpulab.verbs.options import RUN, Option, first, flag
from gpulab.verbs.verb import verb


@verb(RUN)
def report(**options: Any) -> Outcome:
    """Make one HTML page of a run: curves, resources, proofs.

    Each run has its page at its end, report.html; this makes it anew.
    """
    from gpulab.reports.report import show_report

    return show_report(**options)


@verb(RUN, first("others", "the run beside it, or several parted by commas"))
def compare(**options: Any) -> Outcome:
    """Compare runs: what differs, all figures, a page of curves."""
    from gpulab.reports.compare import compare

    return compare(**options)


@verb(RUN)
def watch(**options: Any) -> Outcome:
    """Watch a run go on: steps, curves, resources, its log.

    Ctrl-C ends the watching, not the run. One that has ended is shown once.
    """
    from gpulab.reports.watch import watch

    return watch(**options)


@verb(
    flag("serve", "serve it on this machine until Ctrl-C"),
    Option("to", "a folder that gets the whole site: a web server's, a stick's"),
)
def site(**options: Any) -> Outcome:
    """Make a site of labs, plan, runs and documents.

    English and Chinese, with a search that needs no server. Only what has changed is made anew.
    """
    from gpulab.reports.site.make import make_site

    return make_site(**options)
