"""What people call the columns of their metadata, and what their values mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

ALIASES: dict[str, tuple[str, ...]] = {
    "file": (
        "file",
        "filename",
        "file_name",
        "path",
        "filepath",
        "file_path",
        "image",
        "image_file",
        "image_path",
    ),
    "license": ("license", "licence", "license_id", "license_name", "licence_name", "rights", "usage_terms"),
    "license_url": ("license_url", "licence_url", "license_link", "rights_url"),
    "license_version": ("license_version", "licence_version"),
    "creator": (
        "creator",
        "author",
        "artist",
        "photographer",
        "creator_name",
        "author_name",
        "owner_name",
        "owner",
    ),
    "creator_url": (
        "creator_url",
        "author_url",
        "artist_url",
        "photographer_url",
        "owner_url",
        "profile_url",
    ),
    "title": ("title", "name", "headline"),
    "description": ("description", "comment", "comments"),
    "page_url": (
        "page_url",
        "source_url",
        "page",
        "landing_url",
        "foreign_landing_url",
        "source",
        "url",
        "link",
    ),
    "tags": ("tags", "keywords", "subjects"),
    "taken_at": ("taken_at", "date_taken", "datetaken", "taken", "created", "date"),
    "uploaded_at": ("uploaded_at", "date_uploaded", "dateuploaded", "uploaded"),
    "label": ("label", "caption", "text"),
}
"""Catalog column (and `file`) -> the names it is known by, the first that is set wins."""


def normalise(name: str) -> str:
    """`Photographer URL`, `photographerUrl`, `photographer-url` -> `photographer_url`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def find(record: Mapping[str, Any], column: str) -> Any:
    """The first alias of `column` that isn't empty in a record with normalised names; else None."""
    for alias in ALIASES[column]:
        value = record.get(alias)
        if value is not None and value != "" and value != []:
            return value
    return None


def text(value: Any) -> str | None:
    """A value as stripped text; None for what is empty or no text at all (true, a list, NaN)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return None
    return str(value).strip() or None


def tag_list(value: Any) -> list[str] | None:
    """Tags from a list, or from text with semicolons, bars or commas between them."""
    if isinstance(value, str):
        separator = next((mark for mark in ";|," if mark in value), None)
        value = value.split(separator) if separator else [value]
    if not isinstance(value, Iterable):
        return None
    tags = [tag for entry in value if (tag := text(entry))]
    return list(dict.fromkeys(tags)) or None


def url(record: Mapping[str, Any], column: str) -> str | None:
    """The first alias of `column` in a record with normalised names that holds a web address; else None."""
    written = (text(record.get(alias)) or "" for alias in ALIASES[column])
    return next((value for value in written if re.match(r"https?://\S+$", value, re.IGNORECASE)), None)


def moment(value: Any) -> datetime | None:
    """ISO 8601, EXIF's `2019:05:01 12:00:00`, a date, or a datetime; without a time zone it is taken as UTC.

    None for what is none of these.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        written = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", value.strip())
        try:
            value = datetime.fromisoformat(written)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:  # the first hours of the year 1, or the last of 9999
        return None


def since_epoch(value: Any) -> datetime | None:
    """Whole seconds since 1970, as a number or its digits; None for what is neither, or no time after 1970."""
    written = text(value) or ""
    if not re.fullmatch(r"[0-9]{1,11}", written) or not (seconds := int(written)):
        return None
    return datetime.fromtimestamp(seconds, UTC)
