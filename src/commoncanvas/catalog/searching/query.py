"""What is searched for, from texts that strangers write. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import pyarrow as pa

from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import clean, one_line
from commoncanvas.table.schema import COUNTRY
from commoncanvas.table.sql import all_of, quoted

FIELDS = ("q", "license", "creator", "country", "from", "to", "alike")
"""Of a form that searches."""
MOST_LETTERS = 400
"""Of a text to search for."""
MOST_WORDS = 12
YEARS = (1000, 9999)
_ENGLISH = (
    "a an and are as at be but by for from if in into is it no not of on or such that the their then there these they "
    "this to was will with"
)
STOP_WORDS = frozenset(_ENGLISH.split())
"""English words that are left out, if others are there."""
_BETWEEN = re.compile(r"[\s!-/:-@\[-`{-~]+")
"""White space and ASCII punctuation."""
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Query:
    """Rows meet all parts that are not empty.

    `text`: each of its words is in a title, a description, tags, a label, a caption or a creator's name. `license` and
    `country`: as the catalog has them. `creator`: a name or an address, as the catalog has it. Years: of `taken_at`,
    both included, in UTC. `alike`: a perceptual hash of 64 bits; rows whose own is near.
    """

    text: str = ""
    license: str = ""
    creator: str = ""
    country: str = ""
    from_year: int | None = None
    to_year: int | None = None
    alike: int | None = None

    def __post_init__(self) -> None:
        if len(self.words) > MOST_WORDS:
            raise CatalogError(f"{len(self.words)} words are too many; give at most {MOST_WORDS}")
        years = [year for year in (self.from_year, self.to_year) if year is not None]
        for year in years:
            if not YEARS[0] <= year <= YEARS[1]:
                raise CatalogError(f"{year} is not a year; write it with four digits, as 2014")
        if years != sorted(years):
            raise CatalogError(f"no year is from {self.from_year} to {self.to_year}; swap them")

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """From the FIELDS of a form; `q` is the text, `alike` 16 hexadecimal digits. Others are ignored. Raises
        CatalogError with a sentence for whoever filled it in.
        """
        texts = {name: clean(given.get(name)) or "" for name in ("q", "license", "creator", "country")}
        for name, text in texts.items():
            if len(text) > MOST_LETTERS:
                raise CatalogError(f"{name} has {len(text):,} letters; give at most {MOST_LETTERS}")
        alike = given.get("alike", "").strip().lower()
        if alike and not _HASH.fullmatch(alike):
            raise CatalogError("alike is not a picture's hash; drop the picture again")
        return cls(
            texts["q"],
            texts["license"],
            texts["creator"],
            texts["country"],
            _year(given.get("from", "")),
            _year(given.get("to", "")),
            int(alike, 16) if alike else None,
        )

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of `text`, each once: without stop words, if there are others."""
        every = split(self.text)
        return tuple(word for word in every if word.lower() not in STOP_WORDS) or every

    def form(self) -> dict[str, str]:
        """The inverse of `parse`, without empty fields."""
        fields = {
            "q": self.text,
            "license": self.license,
            "creator": self.creator,
            "country": self.country,
            "from": "" if self.from_year is None else str(self.from_year),
            "to": "" if self.to_year is None else str(self.to_year),
            "alike": "" if self.alike is None else f"{self.alike:016x}",
        }
        return {name: value for name, value in fields.items() if value}

    def where(self, schema: pa.Schema) -> str | None:
        """SQL for all parts but words and likeness; None if there are none."""
        conditions = []
        if self.license:
            conditions.append(f"license = {quoted(self.license)}")
        if self.creator:
            conditions.append(f"creator = {quoted(self.creator)} OR creator_url = {quoted(self.creator)}")
        if self.country:
            known = COUNTRY.name in schema.names
            conditions.append(f"{COUNTRY.name} = {quoted(self.country)}" if known else "false")
        if self.from_year is not None:
            conditions.append(f"date_part('year', taken_at) >= {self.from_year}")
        if self.to_year is not None:
            conditions.append(f"date_part('year', taken_at) <= {self.to_year}")
        return all_of(*conditions) if conditions else None


def split(text: str) -> tuple[str, ...]:
    """The words of a text, each once. Nothing in it is a command."""
    words = (word for word in _BETWEEN.split(text) if any(letter.isalnum() for letter in word))
    return tuple(dict.fromkeys(words))


def _year(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise CatalogError(f"{one_line(text, 40)!r} is not a year; write it with four digits, as 2014")
    return int(text)
