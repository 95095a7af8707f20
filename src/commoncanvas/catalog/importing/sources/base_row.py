"""What a record says of an image's people becomes base columns, by one set of rules for all sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report

Row = dict[str, Any]
MAX_TEXT = 1_000_000
"""Characters of a field, at most."""
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Said:
    """What a record says, as it says it; None for what it doesn't."""

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
    source: str, source_id: str, where: str, license: licenses.License, said: Said, report: Report
) -> Row | None:
    """Identity and provenance of one image.

    None, told to `report`, if the licence demands credit and nobody is named, or a text is no text.
    """
    row: Row = {
        "image_id": f"{source}:{source_id}",
        "source": source,
        "source_id": source_id,
        "license": license.id,
        "license_url": license.url,
        "tags": fields.tag_list(said.tags),
    }
    for column in ("creator", "title", "description"):
        row[column] = "; ".join(fields.texts(getattr(said, column))) or None
    row["label"] = next(iter(fields.texts(said.label)), None)
    for column in ("creator_url", "page_url", "image_url"):
        row[column] = _kept(where, column, getattr(said, column), web_address, "web address", report)
    for column in ("taken_at", "uploaded_at"):
        row[column] = _kept(where, column, getattr(said, column), fields.moment, "date", report)
    if row["creator"] is None and license.attribution:
        report.skip(where, "no creator", f"{license.id} demands attribution and field creator is empty")
        return None
    for column, value in row.items():
        if not _encodes(value):
            report.skip(where, "bad encoding", f"field {column!r} is not UTF-8")
            return None
        if _size(value) > MAX_TEXT:
            report.skip(where, "text too long", f"field {column!r} has more than {MAX_TEXT:,} characters")
            return None
    return row


def row_by_aliases(
    source: str,
    source_id: str,
    where: str,
    record: Mapping[str, Any],
    report: Report,
    *,
    license: licenses.License | None = None,
    creator: str | None = None,
    label_column: str | None = None,
    columns: Mapping[str, str] = _NONE,
) -> Row | None:
    """`base_row` of a record whose columns have people's own names (`fields.ALIASES`).

    `license` and `creator` are for what the record leaves out; `label_column` names the one of human text. `columns`
    maps the catalog's names to the record's, where these are others. A record that states the id or the digest of an
    image that was taken down, as exports do, is skipped.
    """
    names = {name: fields.normalise(str(name)) for name in record}
    if len(set(names.values())) < len(names) and (pair := fields.clash(map(str, record))):
        report.skip(where, "two fields of one name", f"{pair[0]!r} and {pair[1]!r}")
        return None
    values: dict[str, Any] = {names[name]: value for name, value in record.items()}
    image_id, digest = (fields.text(values.get(name)) for name in ("image_id", "sha256"))
    if image_id in report.taken_down.image_ids or digest in report.taken_down.sha256s:
        report.skip(
            where, "taken down", f"it was exported as {image_id}" if image_id else "the same file was"
        )
        return None
    for column, name in columns.items():
        values.update(dict.fromkeys(fields.ALIASES[column]))
        values[fields.ALIASES[column][0]] = record.get(name)
    said = fields.known(values)
    mapped = (columns.get("license"), columns.get("license_url"))
    found = read_license(
        where,
        {name: value for name, value in record.items() if names[name] in fields.RIGHTS or name in mapped},
        report,
        notices={name: value for name, value in record.items() if names[name] in fields.NOTICES},
        version=said["license_version"],
        default=license,
    )
    if found is None:
        return None
    return base_row(
        source,
        source_id,
        where,
        found,
        Said(
            creator=said["creator"] or creator,
            creator_url=fields.url(values, "creator_url") or said["creator_url"],
            page_url=fields.url(values, "page_url") or said["page_url"],
            label=record.get(label_column) if label_column else said["label"],
            **{name: said[name] for name in ("title", "description", "tags", "taken_at", "uploaded_at")},
        ),
        report,
    )


def check_columns(
    what: str,
    columns: Sequence[str],
    license: licenses.License | None,
    creator: str | None,
    mapped: Iterable[str] | None = None,
) -> None:
    """What no row of `what` could say is said at once, not once a row. `mapped` are the catalog's names for columns
    that have others; None for a source that maps none. Raises SourceError.
    """
    if pair := fields.clash(columns):
        raise SourceError(fields.two_of_one_name(what, pair))
    names = {*map(fields.normalise, columns), *(mapped or ())}
    if license is None and not names & fields.RIGHTS:
        raise SourceError(
            f"{what} has no column with licences; name one licence for all with --license, "
            f"{'' if mapped is None else 'or the column with --column license=NAME, '}or call it license or rights"
        )
    demanded = license is not None and license.attribution and creator is None
    if license and demanded and not names & set(fields.ALIASES["creator"]):
        raise SourceError(f"licence {license.id} demands attribution; name whom to credit with --creator")


def check_named(
    what: str, columns: Sequence[str], mapped: Mapping[str, str], label_column: str | None = None
) -> None:
    """Raises SourceError if `what` lacks a column that the user named."""
    has = f"it has: {', '.join(columns)}"
    missing = [name for name in mapped.values() if name not in columns]
    if missing:
        raise SourceError(f"{what} has no column {', '.join(missing)}; {has}")
    if label_column and label_column not in columns:
        raise SourceError(f"{what} has no column {label_column!r} for labels; {has}")


def web_address(value: Any) -> str | None:
    """An http(s) address, of several the first; without a scheme (`//upload.wikimedia.org/...`) it is https."""
    written = (f"https:{each}" if each.startswith("//") else each for each in fields.texts(value))
    return next((each for each in written if re.match(r"https?://\S+$", each, re.IGNORECASE)), None)


def _kept(where: str, column: str, value: Any, read: Any, kind: str, report: Report) -> Any:
    """What `read` makes of a value, or of the first in a list that it can read."""
    stated = [each for each in fields.items(value) if each != ""]
    found = next((good for each in stated if (good := read(each)) is not None), None)
    if found is None and stated:
        report.remark(where, f"kept without {column}", f"{str(stated[0])[:60]!r} is no {kind}")
    return found


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 0


def _encodes(value: Any) -> bool:
    """Whether text is text: JSON can hold half of a surrogate pair."""
    try:
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str):
                text.encode()
    except UnicodeEncodeError:
        return False
    return True
