"""Pages of HTML, each whole in itself: its style, its script and its data are in it, and it asks no network."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from gpulab.reports.series import Curve, Span

PARTS = Path(__file__).parent / "pages"


def render(template: str, **values: Any) -> str:
    """A page of the folder `pages`. A value is text, never HTML; the browser runs this page's script alone."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # a tenth of a second
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined)
    script = _part("uPlot.iife.min.js") + "\n" + _part("charts.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {
        "style": Markup(_part("uPlot.min.css") + _part("page.css")), "script": Markup(script),  # noqa: S704
        "script_hash": f"'sha256-{digest}'",
    }  # fmt: skip
    return environment.get_template(template).render(**own, **values)


@cache
def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def chart(title: str, curves: Mapping[str, Iterable[Curve]], x: str, spans: Iterable[Span] = ()) -> dict[str, str]:
    """A chart as the page's script draws it: its curves by unit, the units of at most two axes. What is no number (the
    loss of a training that diverged) is a gap: JSON has no name for it."""
    drawn = [
        asdict(curve) | {"unit": unit, "y": [value if math.isfinite(value) else None for value in curve.y]}
        for unit, some in curves.items()
        for curve in some
    ]
    data = {"x": x, "curves": drawn, "spans": [asdict(span) for span in spans]}
    return {"title": title, "data": json.dumps(data, allow_nan=False)}
