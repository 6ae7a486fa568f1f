"""`inv new`: a lab like another one, and the READMEs' tables, which are made of the labs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from gpulab.common.errors import UsageError
from gpulab.common.outcome import Outcome
from gpulab.common.paths import LABS, ROOT, shown
from gpulab.lab.lab import find_lab, lab_names, load_lab

PAGES = ("README.md", "README_CN.md")
HEAD = "| lab | what it shows | stack | needs |\n|---|---|---|---|\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\|\n)*")
NAME = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*")


def table() -> str:
    """The labs as the READMEs show them."""
    rows = []
    for name in lab_names():
        lab = load_lab(LABS / name)
        rows.append(f"| [{name}](labs/{name}/README.md) | {lab.title} | {lab.stack} | {lab.needs} |\n")
    return HEAD + "".join(rows)


def write_tables() -> Outcome:
    """Bring the READMEs' tables up to date."""
    made = table()
    written = []
    for page in (ROOT / name for name in PAGES):
        text = page.read_text(encoding="utf-8")
        new = TABLE.sub(lambda _: made, text, count=1)
        if new != text:
            page.write_text(new, encoding="utf-8")
            written.append(page)
    return Outcome({"written": written}, text="\n".join(shown(page) for page in written) or "they are up to date")


def new_lab(name: str, like: str, title: str) -> Outcome:
    """Make labs/`name` of the lab `like`: it loads, has its page, and stands in the READMEs.

    Raises UsageError for a name that is none or taken, and for an unknown model.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no chapter/lab", "two names of small letters, digits and -: train/my-lab")
    folder = LABS / name
    if folder.exists():
        raise UsageError(f"{shown(folder)} is there already", "take another name")
    if len(title.splitlines()) > 1:
        raise UsageError("--title has a line break in it", "one line")
    old = find_lab(like)
    shutil.copytree(old.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        title = title or f"{old.title}, in another way"
        _rewrite(folder / "lab.yaml", r"^title:.*$", f"title: {_quoted(title)}")
        _rewrite(folder / "README.md", r"^# .*$", f"# {title}")
        words = f"(?:{re.escape(old.name)}|{re.escape(old.folder.name)})"
        _rewrite(folder / "README.md", rf"\./inv lab {words}(?![\w/-])", f"./inv lab {name}", every=True)
        lab = load_lab(folder)
        write_tables()
    except BaseException:
        shutil.rmtree(folder)
        raise
    return Outcome(
        {"lab": name, "folder": folder},
        text=f"{shown(folder)} is a lab of {len(lab.steps)} steps: change lab.yaml and README.md, then "
        f"./inv lab {name} --rehearse; ./inv labs --write after a change of its title or needs",
    )


def _quoted(title: str) -> str:
    """A title as one value of YAML."""
    return "'" + title.replace("'", "''") + "'" if re.search(r"[:#'\"{}\[\],&*!|>%@`]|^[-?\s]", title) else title


def _rewrite(file: Path, pattern: str, new: str, *, every: bool = False) -> None:
    text = file.read_text(encoding="utf-8")
    text = re.sub(pattern, lambda _: new, text, count=0 if every else 1, flags=re.MULTILINE)
    file.write_text(text, encoding="utf-8")
