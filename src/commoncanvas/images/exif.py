"""The EXIF fields that the catalog stores: camera and date. The place is never stored."""

from __future__ import annotations

import re
from collections.abc import Container
from datetime import datetime
from typing import Any

_LONGEST = 100


def camera(image: Any, fields: Container[str]) -> str | None:
    """Maker and model of a libvips image's camera, without repeating the maker."""
    make, model = (_text(image, fields, f"exif-ifd0-{name}") for name in ("Make", "Model"))
    if make and model and model.lower().startswith(make.split()[0].lower()):
        make = None
    return " ".join(part for part in (make, model) if part) or None


def taken_at(image: Any, fields: Container[str]) -> str | None:
    """When a libvips image was taken, in ISO 8601; None if the field is not a date."""
    written = _text(image, fields, "exif-ifd2-DateTimeOriginal")
    offset = _text(image, fields, "exif-ifd2-OffsetTimeOriginal") or ""
    try:
        moment = datetime.strptime(written or "", "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return moment.isoformat() + (offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "")


def _text(image: Any, fields: Container[str], name: str) -> str | None:
    if name not in fields:
        return None
    # "VALUE (VALUE FOR PEOPLE, ASCII, 18 components, 18 bytes)"; the count includes the final NUL.
    match = re.search(r", ASCII, (\d{1,6}) components, \d+ bytes\)$", image.get(name)[-60:])
    if match is None:
        return None
    value = image.get(name)[: min(int(match[1]) - 1, _LONGEST)]
    kept = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(kept.split()) or None
