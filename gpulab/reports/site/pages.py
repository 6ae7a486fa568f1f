"""All pages of one language, as text: Markdown and the builder's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import yaml
from markupsafe import Markup

from gpulab.reports.curriculum import Standing
from gpulab.reports.site.lab_page import coloured, day, lab_page, state
from gpulab.reports.site.markdown import link, relative, relinked, table, with_pictures
from gpulab.reports.site.material import Material
from gpulab.reports.site.words import LANGUAGES, Language, Words, site_file

PLAN, LABS_PAGE, STYLE, SHIM, HTML = "plan.md", "labs/index.md", "site.css", "iframe-worker.js", "html"
CHINESE = "_CN.md"
SLUGS = {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}}  # anchors as on GitHub, in Chinese, too
HOME: Mapping[Language, str] = {"en": "README.md", "zh": "README_CN.md"}


@dataclass
class Pages:
    """The site in one language: its pages by their place, the charts' sources by name, the configuration."""

    texts: dict[str, str] = field(default_factory=dict)
    charts: dict[str, str] = field(default_factory=dict)
    config: str = ""

    def add(self, place: str, text: str) -> None:
        """Add a page; its charts become pictures."""
        self.texts[place] = with_pictures(text, place, self.charts)


def pages(material: Material, language: Language) -> Pages:
    """Make them."""
    words, known, made = Words(language), places(material, language), Pages()
    for file in material.documents:
        if file not in HOME.values() and not file.endswith(CHINESE):
            made.add(known[file], relinked(material.documents[spoken(file, material, language)], file, known))
    made.add("index.md", relinked(material.documents[HOME[language]], HOME[language], known))
    made.add(PLAN, plan_page(material, words))
    made.add(LABS_PAGE, labs_page(material, words))
    for lab in material.labs.values():
        readme, source = lab.folder / "README.md", f"labs/{lab.name}/README.md"
        text = relinked(readme.read_text(encoding="utf-8"), source, known) if readme.is_file() else ""
        made.add(known[source], lab_page(lab, known[source], text, material, words))
    made.config = config(material, words)
    return made


def places(material: Material, language: Language) -> dict[str, str]:
    """Where each file of the tree has its page. The other language's first page is beside this site."""
    found = {file: file.replace(CHINESE, ".md") for file in material.documents if file not in HOME.values()}
    found |= {f"labs/{name}/README.md": f"labs/{name}/index.md" for name in material.labs}
    other: Language = "zh" if language == "en" else "en"
    homes = {HOME[language]: "index.md", HOME[other]: f"../{other}/index.html"}
    return {**found, **homes, "labs/curriculum.yml": PLAN}


def spoken(file: str, material: Material, language: Language) -> str:
    """A document's file in a language: the Chinese one beside it, where somebody has translated it."""
    chinese = file.replace(".md", CHINESE)
    return chinese if language == "zh" and chinese in material.documents else file


def plan_page(material: Material, words: Words) -> str:
    """The learning plan: each row with its labs and its best run."""
    parts = [f"# {words('plan')}", words("note")]
    head = [words(name) for name in ("row", "what", "labs", "state", "date")]
    for part, rows in groupby(material.plan, key=lambda s: s.row.rpartition(".")[0]):
        lines = []
        for s in rows:
            labs = Markup(", ").join(link(lab, f"labs/{lab}/index.md") for lab in s.labs)
            what = s.en if words.language == "en" else s.zh
            why = "" if s.labs else s.why
            lines.append((s.row, f"{what}: {why}" if why else what, labs, coloured(s.state, words), day(s.date)))
        parts += [f"## {part}", table(head, lines)]
    kept = [(s.row, s.en if words.language == "en" else s.zh, outputs(s, material)) for s in material.plan if s.output]
    parts += [f"## {words('outputs')}", table([words(name) for name in ("row", "what", "output")], kept)]
    return "\n\n".join(parts) + "\n"


def outputs(standing: Standing, material: Material) -> Markup:
    """What one keeps of a row: a document with its page, all else as it is called."""
    return Markup("<br/>").join(
        link(name, name) if name in material.documents else Markup(f"`{name}`")  # noqa: S704 (names of the lab's own)
        for name in standing.output
    )


def labs_page(material: Material, words: Words) -> str:
    """Every lab in a line, with how its last run ended."""
    lines = []
    for name, lab in material.labs.items():
        runs = material.runs.get(lab.slug, ())
        last = state(runs[0][1], words) if runs else words("never")
        lines.append((link(name, relative(f"labs/{name}/index.md", LABS_PAGE)), lab.title, lab.stack, lab.needs, last))
    head = [words(name) for name in ("lab", "shows", "stack", "needs", "last_run")]
    return f"# {words('labs')}\n\n{table(head, lines)}\n\n{words('note')}\n"


def config(material: Material, words: Words) -> str:
    """Zensical's configuration, in the words of MkDocs: nothing is asked of a network."""
    language = words.language
    palette = [
        {"media": f"(prefers-color-scheme: {scheme})", "scheme": name, "toggle": {"icon": icon, "name": scheme}}
        for scheme, name, icon in (("light", "default", "lucide/sun"), ("dark", "slate", "lucide/moon"))
    ]
    data: dict[str, Any] = {
        "site_name": site_file().name.in_(language), "docs_dir": "docs", "site_dir": HTML,
        "use_directory_urls": False, "nav": navigation(material, words), "extra_css": [STYLE],
        "theme": {"name": "material", "language": language, "font": False, "palette": palette,
                  "features": ["navigation.tabs", "navigation.indexes", "navigation.top", "content.code.copy",
                               "search.highlight"]},
        "plugins": ["search", "offline"],
        "extra": {
            "polyfills": [{"path": SHIM, "type": "text/javascript", "async": False, "defer": False}],
            "alternate": [{"name": name, "link": f"../{lang}/index.html", "lang": lang}
                          for lang, name in LANGUAGES.items()],
        },
        "markdown_extensions": ["tables", {"toc": {"slugify": SLUGS}}, "pymdownx.superfences", "pymdownx.highlight",
                                "pymdownx.details"],
    }  # fmt: skip
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def navigation(material: Material, words: Words) -> list[Any]:
    """The contents: overview, plan, labs by chapter, the documents by section."""
    chapters = [
        {chapter: [{name: f"labs/{name}/index.md"} for name in names]}
        for chapter, names in groupby(material.labs, key=lambda name: name.partition("/")[0])
    ]
    found: list[Any] = [
        {words("home"): ["index.md", {words("plan"): PLAN}]},
        {words("labs"): [LABS_PAGE, *chapters]},
    ]
    left = [f for f in material.documents if f.startswith("docs/") and not f.endswith(CHINESE)]
    for section in site_file().documents:
        entries = []
        for name, title in section.pages.items():
            if (file := f"docs/{name}.md") in left:
                left.remove(file)
                entries.append(file if words.language == "en" else {title: file})
        found.append({section.title.in_(words.language): entries})
    return [*found, {words("more"): left}] if left else found
