"""Mermaid's charts as pictures, in the stack `site`: site_charts.py FOLDER makes NAME.svg of each NAME.mmd."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import mmdr


def main(folder: Path) -> None:
    """Make those that are missing."""
    for source in sorted(folder.glob("*.mmd")):
        made = source.with_suffix(".svg")
        if not made.is_file():
            draft = source.with_suffix(".draft")
            draft.write_text(of_its_width(mmdr.render(source.read_text(encoding="utf-8")).svg()), encoding="utf-8")
            draft.replace(made)


def of_its_width(svg: str) -> str:
    """A picture as wide as what it shows: Mermaid's are as wide as the page."""
    wide = re.search(r'viewBox="\S+ \S+ (\S+)', svg)
    return svg.replace('width="100%"', f'width="{wide[1]}"', 1) if wide else svg


if __name__ == "__main__":
    main(Path(sys.argv[1]))
