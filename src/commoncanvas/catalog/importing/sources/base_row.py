"""Turn a record's provenance into base columns, with the same rules for all sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.core.errors import SourceError
from commoncanvas.core.text import encodes
from commoncanvas.table.report import Report

Row = dict[str, Any]
MAX_TEXT = 1_000_000
"""Most characters of a field."""


@dataclass(frozen=True)
class RawFields:
    """The unchanged values of a record; None if a value is missing."""

    creator: Any = None
    creator_url: Any = None
    title: Any = None
    description: Any = None
    page_url: Any = None
    image_url: Any = None
    tags: Any = None
    taken_at: Any = None
    uploaded_at: Any = None
    label: Any = None


def base_row(
    source: str, source_id: str, where: str, license: licenses.License, raw: RawFields, report: Report
) -> Row | None:
    """Identity and provenance of one image.

    Returns None and reports why if the licence demands credit and no creator is named, or if a text is invalid.
    """
    row: Row = {
        "image_id": f"{source}:{source_id}",
        "source": source,
        "source_id": source_id,
        "license": license.id,
        "license_url": license.url,
        "tags": fields.tag_list(raw.tags),
    }
    for column in ("creator", "title", "description"):
        row[column] = "; ".join(fields.texts(getattr(raw, column))) or None
    row["label"] = next(iter(fields.texts(raw.label)), None)
    for column in ("creator_url", "page_url", "image_url"):
        row[column] = _kept(where, column, getattr(raw, column), web_address, "web address", report)
    for column in ("taken_at", "uploaded_at"):
        row[column] = _kept(where, column, getattr(raw, column), fields.moment, "date", report)
    if row["creator"] is None and license.attribution:
        report.skip(where, "no creator", f"{license.id} demands attribution, but field creator is empty")
        return None
    for column, value in row.items():
        texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if not all(map(encodes, texts)):
            report.skip(where, "bad encoding", f"field {column!r} is not UTF-8")
            return None
        if sum(map(len, texts)) > MAX_TEXT:
            report.skip(where, "text too long", f"field {column!r} has more than {MAX_TEXT:,} characters")
            return None
    return row


def check_columns(
    table: str,
    columns: Sequence[str],
    license: licenses.License | None,
    creator: str | None,
    mapped: Iterable[str] | None = None,
) -> None:
    """Check the columns of `table` once, instead of failing in each row. `mapped` are the catalog names that the user
    mapped; None for a source without mapping. Raises SourceError.
    """
    if pair := fields.clash(columns):
        raise SourceError(fields.two_of_one_name(table, pair))
    names = {*map(fields.normalise, columns), *(mapped or ())}
    if license is None and not names & fields.RIGHTS:
        raise SourceError(
            f"{table} has no column with licences; give one licence for all rows with --license, "
            f"{'' if mapped is None else 'or name the column with --column license=NAME, '}"
            "or rename the column to license or rights"
        )
    demanded = license is not None and license.attribution and creator is None
    if license and demanded and not names & set(fields.ALIASES["creator"]):
        raise SourceError(f"licence {license.id} demands attribution; name whom to credit with --creator")


def check_named(
    table: str, columns: Sequence[str], mapped: Mapping[str, str], label_column: str | None = None
) -> None:
    """Raises SourceError if `table` lacks a column that the user named."""
    has = f"it has: {', '.join(columns)}"
    missing = [name for name in mapped.values() if name not in columns]
    if missing:
        raise SourceError(f"{table} has no column {', '.join(missing)}; {has}")
    if label_column and label_column not in columns:
        raise SourceError(f"{table} has no column {label_column!r} for labels; {has}")


def web_address(value: Any) -> str | None:
    """The first http(s) address in a value; an address without scheme (`//upload.wikimedia.org/...`) becomes https."""
    written = (f"https:{each}" if each.startswith("//") else each for each in fields.texts(value))
    return next((each for each in written if re.match(r"https?://\S+$", each, re.IGNORECASE)), None)


def _kept(where: str, column: str, value: Any, read: Any, kind: str, report: Report) -> Any:
    """The result of `read` for a value, or for the first readable value of a list; the unreadable is reported."""
    stated = [each for each in fields.items(value) if each != ""]
    found = next((good for each in stated if (good := read(each)) is not None), None)
    if found is None and stated:
        report.remark(where, f"kept without {column}", f"{str(stated[0])[:60]!r} is not a {kind}")
    return found
