"""`inv site`: the pages written where they changed, built by the stack `site`, with the runs' reports beside them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from gpulab.common.console import console
from gpulab.common.errors import UsageError
from gpulab.common.failure import Failure
from gpulab.common.outcome import Outcome
from gpulab.common.paths import CACHE, ROOT, shown
from gpulab.reports.page import PARTS
from gpulab.reports.report import FILE as REPORT
from gpulab.reports.site.anchors import dead_anchors
from gpulab.reports.site.files import MARK, bring_up_to_date, check_target
from gpulab.reports.site.lab_page import report_place
from gpulab.reports.site.markdown import CHARTS
from gpulab.reports.site.material import Material, gather
from gpulab.reports.site.pages import HTML, SHIM, STYLE, Pages, pages
from gpulab.reports.site.serve import serve_folder
from gpulab.reports.site.words import LANGUAGES, Language
from gpulab.stacks.stack import Stack, load_stack

SITE = CACHE / "site"
BUILT = "built"  # of a language that was: it holds the links that lead to no heading
DRAW = ROOT / "gpulab/inside/site_charts.py"
FIRST_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>GPU lab</title>
<meta http-equiv="refresh" content="0; url=en/index.html">
<p><a href="en/index.html">English</a> · <a href="zh/index.html">中文</a></p></html>
"""


def make_site(to: str = "", *, serve: bool = False) -> Outcome:
    """Make the site, in a folder where one is named, and serve it until Ctrl-C where that is asked for."""
    began = time.monotonic()
    target = Path(to).absolute() if to else SITE / "html"
    if to:
        check_target(target)
    material, stack = gather(), load_stack("site")
    stack.ensure()
    SITE.mkdir(parents=True, exist_ok=True)
    with FileLock(SITE / ".lock"):
        changed = build({language: pages(material, language) for language in LANGUAGES}, stack)
        bring_up_to_date(target, whole(material))
        failures = dead_links()
    seconds = time.monotonic() - began
    said = f"{shown(target)}/index.html: {len(changed)} pages were new or changed, {seconds:.1f} s"
    if serve:
        console.print(said)
        serve_folder(target)
    data = {"site": target, "changed": changed, "seconds": round(seconds, 2)}
    return Outcome(data, failures=failures, text=None if serve else said)


def dead_links() -> list[Failure]:
    """The links that lead to no heading of the pages, which were built with them all the same."""
    lines = {lang: (SITE / lang / BUILT).read_text(encoding="utf-8").splitlines() for lang in LANGUAGES}
    cure = "name the heading as it is"
    return [Failure(f"{lang}/{line} leads to no heading", cure) for lang, found in lines.items() for line in found]


def whole(material: Material) -> dict[str, str | Path]:
    """All files of the site: the languages as they were built, the runs' reports, and what leads to a language."""
    built: dict[str, str | Path] = {
        f"{language}/{path.relative_to(SITE / language / HTML).as_posix()}": path
        for language in LANGUAGES
        for path in (SITE / language / HTML).rglob("*")
        if path.is_file()
    }
    return {
        **built,
        **reports(material),
        "index.html": FIRST_PAGE,
        MARK: "made by inv site, which removes what else is here\n",
    }


def reports(material: Material) -> dict[str, Path]:
    """The reports of the runs that the site shows, by their place in it."""
    folders = [folder for runs in material.runs.values() for folder, _ in runs]
    return {report_place(folder): folder / REPORT for folder in folders if (folder / REPORT).is_file()}


def build(languages: Mapping[Language, Pages], stack: Stack) -> list[str]:
    """Write the pages of each language and build those that changed, side by side; which ones did."""
    charts = {name: source for made in languages.values() for name, source in made.charts.items()}
    pictures = draw(charts, stack)
    changed: list[str] = []
    running: dict[Language, subprocess.Popen[str]] = {}
    for language, made in languages.items():
        folder = SITE / language
        wanted: dict[str, str | Path] = {f"docs/{place}": text for place, text in made.texts.items()}
        wanted |= {f"docs/{CHARTS}/{name}.svg": pictures[name] for name in made.charts}
        wanted |= {f"docs/{STYLE}": PARTS / STYLE, f"docs/{SHIM}": PARTS / SHIM, "mkdocs.yml": made.config}
        before = (folder / BUILT).read_text(encoding="utf-8") if (folder / BUILT).is_file() else None
        (folder / BUILT).unlink(missing_ok=True)  # whatever ends this one, the next one sees that it did not
        changes = bring_up_to_date(folder, wanted, keep=[".cache", HTML])
        changed += [f"{language}/{name}" for name in changes.written if name.endswith(".md")]
        if before is not None and not changes.written and not changes.removed:
            (folder / BUILT).write_text(before, encoding="utf-8")
            continue
        more: list[str] = []
        if before is None or changes.removed or "mkdocs.yml" in changes.written:
            shutil.rmtree(folder / HTML, ignore_errors=True)  # Zensical leaves the pages of what is gone
            more = ["--clean"]
        running[language] = subprocess.Popen(
            [stack.bin / "zensical", "build", "--config-file", "mkdocs.yml", *more],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    try:
        for language, process in running.items():
            said = process.communicate()[0]
            if process.returncode:
                raise UsageError(f"Zensical can't build the pages: {said[-1500:]}", f"look at {shown(SITE / language)}")
            dead = dead_anchors(SITE / language / HTML)
            (SITE / language / BUILT).write_text("".join(f"{page}: {link}\n" for page, link in dead), encoding="utf-8")
    finally:
        for process in running.values():
            process.kill()
    return changed


def draw(charts: Mapping[str, str], stack: Stack) -> dict[str, Path]:
    """The charts as pictures, which stay as long as their sources do. Raises UsageError for one that can't be drawn."""
    folder = SITE / CHARTS
    sources = {f"{name}.mmd": source for name, source in charts.items()}
    pictures = {name: folder / f"{name}.svg" for name in charts}
    folder.mkdir(exist_ok=True)
    if not all(picture.is_file() for picture in pictures.values()):
        for name, source in sources.items():
            (folder / name).write_text(source, encoding="utf-8")
        done = subprocess.run([stack.bin / "python", DRAW, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(f"a chart can't be drawn: {done.stderr[-500:]}", "is its Mermaid what GitHub shows?")
    return pictures
