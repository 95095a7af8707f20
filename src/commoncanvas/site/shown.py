"""How pages show one image of a catalog: where its picture and its page are, and its credit."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from commoncanvas.catalog.credits import Credit
from commoncanvas.core.text import visible

THUMBNAIL = 256
"""Pixels of the longer side of a small picture."""


def picture_path(catalog: str, image_id: str, pixels: int = THUMBNAIL) -> str:
    """Of the picture of an image, at most `pixels` wide and high."""
    return f"/images/{quote(catalog, safe='')}/{quote(image_id, safe='')}?px={pixels}"


def row_path(catalog: str, image_id: str) -> str:
    """Of the page about an image."""
    return f"/catalog/{quote(catalog, safe='')}/{quote(image_id, safe='')}"


def shown(catalog: str, credit: Credit, **more: Any) -> dict[str, Any]:
    """An image as pages and their scripts get it; `more`: what a page adds. Texts have no hidden characters."""
    texts = {
        name: visible(value) if isinstance(value, str) else value for name, value in vars(credit).items()
    }
    return {
        **texts,
        "verb": credit.verb,
        "text": visible(credit.text()),
        "catalog": catalog,
        "picture": picture_path(catalog, credit.image_id),
        "page": row_path(catalog, credit.image_id),
        **more,
    }
