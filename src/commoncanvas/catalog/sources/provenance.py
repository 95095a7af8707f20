"""What a record says of an image's people becomes base columns, by one set of rules for all sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.sources import fields
from commoncanvas.catalog.sources.source import Report
from commoncanvas.errors import SourceError

Row = dict[str, Any]
MAX_TEXT = 1_000_000
"""Characters of a field, at most."""


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
    for column in ("creator", "title", "description", "label"):
        row[column] = fields.text(getattr(said, column))
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
) -> Row | None:
    """`base_row` of a record whose columns have people's own names (`fields.ALIASES`).

    `license` and `creator` are for what the record leaves out; `label_column` names the one of human text. A record
    that states the id or the digest of an image that was taken down, as exports do, is skipped.
    """
    named = {fields.normalise(str(name)): value for name, value in record.items()}
    image_id, digest = (fields.text(named.get(name)) for name in ("image_id", "sha256"))
    if image_id in report.taken_down.image_ids or digest in report.taken_down.sha256s:
        report.skip(
            where, "taken down", f"it was exported as {image_id}" if image_id else "the same file was"
        )
        return None
    values = {column: fields.find(named, column) for column in fields.ALIASES}
    found = read_license(
        where,
        {name: values[name] for name in ("license", "license_url")},
        report,
        version=values["license_version"],
        default=license,
    )
    if found is None:
        return None
    said = Said(
        creator=fields.text(values["creator"]) or creator,
        creator_url=fields.url(named, "creator_url") or values["creator_url"],
        page_url=fields.url(named, "page_url") or values["page_url"],
        label=record.get(label_column) if label_column else values["label"],
        **{name: values[name] for name in ("title", "description", "tags", "taken_at", "uploaded_at")},
    )
    return base_row(source, source_id, where, found, said, report)


def check_columns(
    what: str, columns: Iterable[str], license: licenses.License | None, creator: str | None
) -> None:
    """What no row of `what` could say is said at once, not once a row. Raises SourceError."""
    names = {fields.normalise(name) for name in columns}
    if license is None and not names & {*fields.ALIASES["license"], *fields.ALIASES["license_url"]}:
        raise SourceError(
            f"{what} has no column with licences; name one licence for all with --license, or call the column one "
            f"of: {', '.join(fields.ALIASES['license'])}"
        )
    demanded = license is not None and license.attribution and creator is None
    if license and demanded and not names & set(fields.ALIASES["creator"]):
        raise SourceError(f"licence {license.id} demands attribution; name whom to credit with --creator")


def read_license(
    where: str,
    given: Mapping[str, Any],
    report: Report,
    *,
    version: Any = None,
    source: str | None = None,
    default: licenses.License | None = None,
) -> licenses.License | None:
    """The one licence that the fields `given` (name -> value) speak of, the most exact where several do.

    None, told to `report`, where they name none that is known, or two that differ in what they permit.
    `default` is for a record that says nothing.
    """
    said = [(field, text) for field, value in given.items() if (text := fields.text(value))]
    if not said:
        if default is None:
            report.skip(where, "no licence", f"field {next(iter(given))} is empty")
        return default
    stated = fields.text(version)
    known = [license for _, text in said if (license := licenses.parse(text, stated, source=source)).known]
    if not known:
        field, text = said[0]
        report.skip(where, "unknown licence", f"field {field}: {text[:100]!r}")
        return None
    for other in known[1:]:
        if not _agree(known[0], other):
            report.skip(where, "contradictory licences", f"{known[0].id} and {other.id}")
            return None
    return max(known, key=lambda license: (license.version is not None, license.jurisdiction is not None))


def web_address(value: Any) -> str | None:
    """An http(s) address; one without a scheme (`//upload.wikimedia.org/...`) is taken as https."""
    written = fields.text(value)
    if written and written.startswith("//"):
        written = f"https:{written}"
    return written if written and re.match(r"https?://\S+$", written, re.IGNORECASE) else None


def _kept(where: str, column: str, value: Any, read: Any, kind: str, report: Report) -> Any:
    found = read(value)
    if found is None and value is not None and value != "":
        report.remark(where, f"kept without {column}", f"{str(value)[:60]!r} is no {kind}")
    return found


def _agree(one: licenses.License, other: licenses.License) -> bool:
    """Whether both permit the same, so that naming the more exact of them names both."""
    terms = ("reusable", "commercial", "derivatives", "share_alike", "attribution", "public_domain")
    if any(getattr(one, term) != getattr(other, term) for term in terms):
        return False
    # Versions of one licence differ in their text; what is in the public domain has no text to differ in.
    return one.public_domain or None in (one.version, other.version) or one.version == other.version


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
