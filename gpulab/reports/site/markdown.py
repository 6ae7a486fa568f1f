"""Markdown for the site: what comes from a record or a lab is text, never markup; links lead to pages of the site."""

from __future__ import annotations

import hashlib
import posixpath
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from markupsafe import Markup

FENCE = re.compile(r"^(```.*?^```[ ]*$)", re.MULTILINE | re.DOTALL)
MERMAID = re.compile(r"^( *)```mermaid\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
CHINESE = re.compile("[\u2e80-\u9fff\uff00-\uffef]")
CHARTS = "charts"


def plain(text: object) -> Markup:
    """A text as it is, on one line: no letter of it means anything in Markdown or HTML."""
    words = " ".join(str(text).split())
    return Markup(re.sub(r"[^\w ]|_", lambda m: f"&#{ord(m[0])};", words))  # noqa: S704 (nothing else is left in it)


def code(text: str, language: str = "") -> str:
    """A block of code, whatever fences are in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell is text, unless it is Markup."""
    cells = [[c if isinstance(c, Markup) else plain(c) for c in row] for row in [head, *rows]]
    lines = [" | ".join(row) for row in cells]
    return "\n".join(f"| {line} |" for line in [lines[0], " | ".join(["---"] * len(head)), *lines[1:]])


def link(label: object, target: str) -> Markup:
    """A link to a page of the site, whose address is made of names of files."""
    return Markup(f"[{plain(label)}]({target})")  # noqa: S704 (the label is escaped, the names are the lab's own)


def relative(page: str, source: str) -> str:
    """A page's address as another page of the site says it."""
    return posixpath.relpath(page, posixpath.dirname(source) or ".")


def relinked(text: str, source: str, known: Mapping[str, str]) -> str:
    """A document of the tree with its links as they are in the site; what is no page there is text.

    `known` has the site's pages by the files that they are made of.
    """

    def one(found: re.Match[str]) -> str:
        label, target = found.groups()
        if "://" in target or target.startswith("#"):
            return found[0]
        path, mark, anchor = target.partition("#")
        page = known.get(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        return f"[{label}]({relative(page, known[source])}{mark}{anchor})" if page else label

    return outside_code(text, lambda part: LINK.sub(one, unbroken(part)))


def unbroken(text: str) -> str:
    """A text without the line breaks in its Chinese sentences, each of which a browser shows as a space."""
    lines: list[str] = []
    for line in text.split("\n"):
        before, further = lines[-1] if lines else "", line.lstrip()
        if CHINESE.match(further) and CHINESE.match(before[-1:]) and not before.startswith("#"):
            lines[-1] += further
        else:
            lines.append(line)
    return "\n".join(lines)


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """A text, changed outside of its blocks of code."""
    return "".join(part if n % 2 else change(part) for n, part in enumerate(FENCE.split(text)))


def with_pictures(text: str, page: str, charts: dict[str, str]) -> str:
    """A text whose charts are pictures; `charts` gets their sources by the picture's name."""

    def one(found: re.Match[str]) -> str:
        source = textwrap.dedent(found[2])
        name = hashlib.sha256(source.encode()).hexdigest()[:16]
        charts[name] = source
        return f"{found[1]}![chart]({relative(f'{CHARTS}/{name}.svg', page)})"

    return MERMAID.sub(one, text)
