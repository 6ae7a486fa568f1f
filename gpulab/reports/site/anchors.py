"""The built site's links to headings: each has to lead to one that is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ID = re.compile(r"""\s(?:id|name)=(?:"([^"]*)"|([^\s">]+))""")
HREF = re.compile(r"""\shref=(?:"([^"]*#[^"]*)"|([^\s">]*#[^\s">]+))""")
NOT_FOUND = "404.html"  # the builder's own


def dead_anchors(folder: Path) -> Iterator[tuple[str, str]]:
    """Pages below a folder, and links of theirs to a place in a page that has no such place."""

    @cache
    def places(page: Path) -> set[str]:
        return {quoted or bare for quoted, bare in ID.findall(page.read_text(encoding="utf-8"))}

    for page in sorted(page for page in folder.rglob("*.html") if page.name != NOT_FOUND):
        for quoted, bare in dict.fromkeys(HREF.findall(page.read_text(encoding="utf-8"))):
            link = urlsplit(quoted or bare)
            if link.scheme or link.netloc or not link.fragment:
                continue
            to = Path(os.path.normpath(page.parent / unquote(link.path))) if link.path else page
            if to.suffix != page.suffix or not to.is_file():
                continue
            if unquote(link.fragment) not in places(to):
                yield page.relative_to(folder).as_posix(), quoted or bare
