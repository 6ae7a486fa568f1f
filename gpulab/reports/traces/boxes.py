"""The main line of a trace: the few functions of it that a reader has to know, in the order in which they ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gpulab.common.yamlfile import load_as
from gpulab.reports.traces.read import Call, Trace

MOST = 25  # boxes of a chart


class Station(BaseModel):
    """A place of the main line: `at`, its function as `file:name` with wildcards; `en` and `zh`, what happens there;
    `detail`: when a chart leaves it out."""

    model_config = ConfigDict(extra="forbid")
    at: str
    en: str
    zh: str
    detail: int = 0


class BoxesFile(BaseModel):
    """boxes.yml: the places by stage."""

    model_config = ConfigDict(extra="forbid")
    stages: dict[str, list[Station]]


@dataclass
class Box:
    """A place of the main line that a trace passed: the first call there, how long all of them took."""

    stage: str
    station: Station
    call: Call
    seconds: float = 0.0


@cache
def stations() -> dict[str, list[Station]]:
    """All places that a main line may have, by stage."""
    return load_as(BoxesFile, Path(__file__).with_name("boxes.yml")).stages


def main_line(trace: Trace) -> list[Box]:
    """The boxes in the order in which they ran."""
    known = [(stage, station) for stage, found in stations().items() for station in found]
    of: dict[Call, Box] = {}
    boxes: dict[str, Box] = {}
    for call in trace.calls:
        name = f"{call.file}:{call.name}"
        found = next(((stage, station) for stage, station in known if fnmatchcase(name, station.at)), None)
        if found:
            stage, station = found
            box = of[call] = boxes.setdefault(station.at, Box(stage, station, call))
            if not any(of.get(above) is box for above in call.callers()):
                box.seconds += call.seconds
    return list(boxes.values())


def shortened(boxes: Sequence[Box]) -> list[Box]:
    """The boxes of a chart: no more than one takes in, where leaving out details is enough for that."""
    kept = list(boxes)
    for detail in (1, 2):
        if len(kept) > MOST:
            kept = [box for box in kept if box.station.detail != detail]
    return kept


def stages(boxes: Sequence[Box]) -> list[tuple[str, list[Box]]]:
    """Boxes that follow each other in one stage, together."""
    found: list[tuple[str, list[Box]]] = []
    for box in boxes:
        if not found or found[-1][0] != box.stage:
            found.append((box.stage, []))
        found[-1][1].append(box)
    return found
