"""What the site says, by language."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from gpulab.common.yamlfile import load_as

Language = Literal["en", "zh"]
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}


class Both(BaseModel):
    """A text in both languages."""

    model_config = ConfigDict(extra="forbid")
    en: str
    zh: str

    def in_(self, language: Language) -> str:
        """The text in one of them."""
        return self.en if language == "en" else self.zh


class Section(BaseModel):
    """Documents under one heading: their names, with their Chinese titles."""

    model_config = ConfigDict(extra="forbid")
    title: Both
    pages: dict[str, str]


class SiteFile(BaseModel):
    """site.yml."""

    model_config = ConfigDict(extra="forbid")
    name: Both
    words: dict[str, Both]
    states: dict[str, Both]
    documents: list[Section]


@cache
def site_file() -> SiteFile:
    """site.yml, read once."""
    return load_as(SiteFile, Path(__file__).with_name("site.yml"))


@dataclass(frozen=True)
class Words:
    """The site's words in one language."""

    language: Language

    def __call__(self, name: str) -> str:
        """A word by its name."""
        return site_file().words[name].in_(self.language)

    def state(self, name: str) -> str:
        """A run's or a row's state."""
        return site_file().states[name].in_(self.language)
