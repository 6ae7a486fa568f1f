"""Records of runs that never ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpulab.records.record import RunRecord
from gpulab.records.writer import RunFolder, Writer


def open_run(slug: str = "start-tiny", **fields: Any) -> Writer:
    """A run whose record is open, with these fields."""
    folder = RunFolder.make(slug)
    data = {
        "run": f"{slug}/{folder.path.name}", "lab": slug.replace("-", "/", 1), "title": "A lab", "curriculum": "none",
        "profile": "cpu", "why": "as asked", "started": "2026-11-23T06:10:49.123Z", "argv": ["inv", "lab"],
        "settings": {}, "hub": "modelscope", "ports": {}, "nodes": 1, "only": [], "engine": "local", "hosts": [],
        "inventory": "", "stack": {"name": "cpu"}, "git": {}, "machine": {}, "others": [], "environment": {},
    }  # fmt: skip
    return Writer(folder, RunRecord.model_validate(data | fields))


def killed(writer: Writer) -> Path:
    """The folder of a run whose inv is gone without a word."""
    lock = writer._folder._lock
    lock.release(force=True)
    Path(lock.lock_file).touch()
    return writer.folder
