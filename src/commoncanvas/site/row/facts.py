"""All that a catalog knows about one image, in the order in which people read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commoncanvas import licenses
from commoncanvas.core.numbers import figure
from commoncanvas.core.text import clean, visible, web_address

NAMED = {
    "description": "Description",
    "tags": "Tags",
    "label": "Label by a person",
    "taken_at": "Made",
    "uploaded_at": "Published",
    "country": "Country",
    "camera": "Camera",
}
SHOWN_ELSEWHERE = {
    *("image_id", "source", "source_id", "page_url", "image_url", "image_url_2", "license", "license_url"),
    *("creator", "creator_url", "title", "width", "height", "original_width", "original_height"),
    *("fetch_status", "fetch_error", "duplicate_of"),
}


@dataclass(frozen=True)
class Fact:
    """A name, a text, and where it leads."""

    name: str
    text: str
    url: str | None = None
    note: str = ""


def facts(row: Mapping[str, Any]) -> list[Fact]:
    """Title, creator and licence are not among them: the credit has these."""
    found = [Fact(name, _text(row.get(column))) for column, name in NAMED.items()]
    found += [*_captions(row), _size(row), *_places(row), *_status(row)]
    return [each for each in found if each.text]


def others(row: Mapping[str, Any]) -> list[Fact]:
    """Columns that `facts` has not, such as scores, under their own names."""
    written = {name for caption in _caption_columns(row) for name in (caption, f"{caption}_model")}
    known = SHOWN_ELSEWHERE | written | set(NAMED)
    found = [Fact(name, _text(value)) for name, value in row.items() if name not in known]
    return [each for each in found if each.text]


def meaning(row: Mapping[str, Any]) -> str:
    """What the licence means, in one sentence."""
    return licenses.meaning(licenses.parse(row["license"]))


def _caption_columns(row: Mapping[str, Any]) -> list[str]:
    return [name for name in row if f"{name}_model" in row and f"{name}_status" in row]


def _captions(row: Mapping[str, Any]) -> list[Fact]:
    """Captions stand under their columns: there may be several, of several models."""
    return [
        Fact(
            "Caption by a model",
            _text(row[name]),
            note=f"written by {clean(row[f'{name}_model']) or 'an unknown model'}, column {visible(name)}",
        )
        for name in _caption_columns(row)
    ]


def _size(row: Mapping[str, Any]) -> Fact:
    def size(width: int | None, height: int | None) -> str:
        return f"{width:,} × {height:,} pixels" if width and height else ""

    stored = size(row["width"], row["height"])
    original = size(row["original_width"], row["original_height"])
    if stored and original and stored != original:
        return Fact("Size", stored, note=f"the original has {original}")
    return Fact("Size", stored or original)


def _places(row: Mapping[str, Any]) -> list[Fact]:
    pages = [("Page of the source", row["page_url"]), ("File of the source", row["image_url"])]
    return [
        *(Fact(name, visible(web_address(url) or ""), web_address(url)) for name, url in pages),
        Fact("Source", _text(row["source"])),
        Fact("Id", visible(row["image_id"])),
    ]


def _status(row: Mapping[str, Any]) -> list[Fact]:
    return [Fact("Fetched", _text(row["fetch_status"]), note=_text(row["fetch_error"]))]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(filter(None, (clean(each) for each in value)))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return figure(value)
    return visible(str(value)).strip()
