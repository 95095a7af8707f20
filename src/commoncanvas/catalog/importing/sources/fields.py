"""Usual names of metadata columns, and how to read their values. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
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
    "license": (
        *("license", "licence", "license_id", "licence_id", "license_name", "licence_name", "license_title"),
        *("license_type", "licence_type", "license_short_name", "licensename", "licenses", "licences"),
        *("rights", "usage_terms", "dc_rights", "dcterms_rights", "dcterms_license", "edm_rights"),
        *("rights_statement", "rights_statements"),
    ),
    "license_url": (
        *("license_url", "licence_url", "license_uri", "license_link", "licenseurl"),
        *("rights_url", "rights_uri", "rights_statement_url", "rights_statement_uri"),
    ),
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
"""Catalog column (and `file`) -> its usual names. The first one that is set is used; for licences, all are read."""

RIGHTS = frozenset((*ALIASES["license"], *ALIASES["license_url"]))
"""Columns that name a licence."""
NOTICES = frozenset(
    (
        *(
            "copyright",
            "copyright_notice",
            "copyright_status",
            "copyright_statement",
            "rights_and_reproduction",
        ),
        *(
            "rights_information",
            "rights_advisory",
            "rights_usage_terms",
            "access_rights",
            "dcterms_access_rights",
        ),
        *("terms_of_use", "usage_rights", "use_restrictions", "restrictions", "permission", "permissions"),
    )
)
"""Columns that may contain statements about rights."""

KEYS = ("id", "key", "image_id", "uuid", "guid", "identifier", "photo_id", "photoid", "accession_number")
"""Usual names of an id column."""

KNOWN = frozenset(name for names in ALIASES.values() for name in names) | NOTICES | frozenset(KEYS)
"""All columns that are read."""


@lru_cache(maxsize=1 << 12)
def normalise(name: str) -> str:
    """`Photographer URL`, `photographerUrl`, `photographer-url` -> `photographer_url`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def clash(columns: Iterable[str]) -> tuple[str, str] | None:
    """Two columns that have the same meaning, such as `License` and `license`; None if there are none."""
    seen: dict[str, str] = {}
    for name in filter(str.strip, columns):
        plain = normalise(name)
        key = plain if plain in KNOWN else name.strip().casefold()
        if key in seen:
            return seen[key], name
        seen[key] = name
    return None


def two_of_one_name(table: str, pair: tuple[str, str]) -> str:
    """The error for columns that `clash`."""
    if pair[0] == pair[1]:
        return f"{table} names the column {pair[0]!r} twice; give each a name of its own"
    return f"{table} has the columns {pair[0]!r} and {pair[1]!r}, which mean the same; rename or remove one"


_COLUMN = {alias: (column, place) for column, names in ALIASES.items() for place, alias in enumerate(names)}


def known(record: Mapping[str, Any]) -> dict[str, Any]:
    """Column of ALIASES -> value of its first alias that isn't empty, or None. The record's names are normalised."""
    found: dict[str, Any] = dict.fromkeys(ALIASES)
    places = dict.fromkeys(ALIASES, len(_COLUMN))
    for name, value in record.items():
        column, place = _COLUMN.get(name, ("", 0))
        if column and place < places[column] and _is_set(value):
            found[column], places[column] = value, place
    return found


def find(record: Mapping[str, Any], column: str) -> Any:
    """The value of the first alias of `column` that isn't empty, or None. The record's names are normalised."""
    return next((value for alias in ALIASES[column] if _is_set(value := record.get(alias))), None)


def _is_set(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return any(each == each and str(each).strip() for each in items(value))


_NAMING = ("@value", "value", "name", "label", "o:label", "title", "@id", "id", "url", "en", "none", "def")
"""Keys with the text of a value that is an object, in JSON-LD, IIIF, EDM, DataCite and schema.org."""
_MAX_DEPTH = 6


def items(value: Any, depth: int = _MAX_DEPTH) -> list[Any]:
    """The plain values in a value: itself, the values of a list, or the first value under an object's usual keys."""
    if isinstance(value, str):
        return [value]
    if not depth or value is None:
        return []
    if isinstance(value, Mapping):
        languages = (name for name in value if re.fullmatch(r"[a-z]{2}(?:-\w+)?", str(name)))
        held = (items(value.get(name), depth - 1) for name in (*_NAMING, *languages))
        return next(filter(None, held), [])
    if isinstance(value, list | tuple):
        return [plain for each in value for plain in items(each, depth - 1)]
    return [value]


def texts(value: Any) -> list[str]:
    """The different texts in a value."""
    if isinstance(value, str):
        return [written] if (written := value.strip()) else []
    return list(dict.fromkeys(found for each in items(value) if (found := text(each))))


def statements(value: Any, depth: int = _MAX_DEPTH) -> list[str]:
    """The texts in a value about rights. Of an object, all names and addresses count."""
    if isinstance(value, list | tuple):
        return [found for each in value for found in statements(each, depth - 1)] if depth else []
    if isinstance(value, Mapping):
        return [found for name in (*_NAMING, "href", "uri") for found in texts(value.get(name))]
    return texts(value)


def is_blank(value: Any, depth: int = _MAX_DEPTH) -> bool:
    """Whether a value is empty: null, NaN, false, blank text, or lists and objects of these up to `depth`."""
    if isinstance(value, Mapping | list | tuple):
        held = value.values() if isinstance(value, Mapping) else value
        return not value or (depth > 0 and all(is_blank(each, depth - 1) for each in held))
    return value is None or value is False or value != value or not str(value).strip()


def single(value: Any) -> Any:
    """The only value of a list; any other value unchanged."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def text(value: Any) -> str | None:
    """A value as stripped text; also the only text in a list or an object.

    None for an empty value and for anything that isn't one text (true, NaN, a list of several texts).
    """
    if isinstance(value, list | tuple | Mapping):
        held = texts(value)
        return held[0] if len(held) == 1 else None
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        return None
    return str(value).strip() or None


def digest_id(image: str | bytes) -> str:
    """An id for a row without one: a digest of the image's address or bytes."""
    kind, content = ("url", image.encode(errors="replace")) if isinstance(image, str) else ("sha256", image)
    return f"{kind}-{hashlib.sha256(content).hexdigest()[:32]}"


def tag_list(value: Any) -> list[str] | None:
    """Tags from a list, or from text separated by semicolons, bars or commas."""
    if isinstance(value, str):
        separator = next((mark for mark in ";|," if mark in value), None)
        value = value.split(separator) if separator else [value]
    return texts(value) or None


def url(record: Mapping[str, Any], column: str) -> str | None:
    """The first web address under an alias of `column`, or None. The record's names are normalised."""
    written = (found for alias in ALIASES[column] for found in texts(record.get(alias)))
    return next((value for value in written if re.match(r"https?://\S+$", value, re.IGNORECASE)), None)


def moment(value: Any) -> datetime | None:
    """Parse ISO 8601, EXIF's `2019:05:01 12:00:00`, a date or a datetime. UTC if there is no time zone.

    None for anything else.
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
    """Parse whole seconds since 1970, as a number or text. None for anything else, and for 0."""
    written = text(value) or ""
    if not re.fullmatch(r"[0-9]{1,11}", written) or not (seconds := int(written)):
        return None
    return datetime.fromtimestamp(seconds, UTC)
