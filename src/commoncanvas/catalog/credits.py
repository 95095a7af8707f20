"""Credits of the images, as text, CSV, HTML or JSON.

A credit has what Creative Commons recommends: title, author, source and licence, each with its link, and the changes
(https://wiki.creativecommons.org/wiki/Recommended_practices_for_attribution).
"""

from __future__ import annotations

import csv
import html
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import why
from commoncanvas.core.text import (
    cell,
    clean,
    escaped_json,
    markdown_cell,
    text_of_cell,
    visible,
    web_address,
)
from commoncanvas.creators.names import NO_CREATOR
from commoncanvas.table.filters import expression
from commoncanvas.table.table import Catalog

COLUMNS = (
    "image_id",
    "title",
    "creator",
    "creator_url",
    "page_url",
    "image_url",
    "license",
    "license_url",
    "width",
    "height",
    "original_width",
    "original_height",
)
UNTITLED = "Untitled"
NO_LICENSE = "licence not stated"


@dataclass(frozen=True)
class Credit:
    """The credit of one image. A field is None if it isn't known; links are web addresses or None."""

    image_id: str
    title: str | None
    creator: str | None
    creator_url: str | None
    source_url: str | None
    license: str | None
    license_name: str | None
    license_url: str | None
    changes: str | None

    @property
    def verb(self) -> str:
        """Creative Commons' words between a work and its licence."""
        known = licenses.parse(self.license)
        return "is marked with" if known.public_domain else "is licensed under"

    def text(self) -> str:
        """One line: title, creator, licence, source and changes, with links in brackets."""
        title = f"“{self.title}”" if self.title else UNTITLED
        parts = [f"{title} by {_linked(self.creator or NO_CREATOR, self.creator_url)}"]
        if self.license_name:
            parts[0] += f" {self.verb} {_linked(self.license_name, self.license_url)}"
        else:
            parts.append(NO_LICENSE.capitalize())
        if self.source_url:
            parts.append(f"Source: {self.source_url}")
        if self.changes:
            parts.append(f"Changes: {self.changes}")
        return ". ".join(parts) + "."

    def html(self) -> str:
        """The same as HTML with links; all text is escaped."""
        title = _anchor(self.title or UNTITLED, self.source_url)
        creator = _anchor(self.creator or NO_CREATOR, self.creator_url)
        if self.license_name:
            licence = f" {self.verb} {_anchor(self.license_name, self.license_url, rel='license')}"
        else:
            licence = f", {NO_LICENSE}"
        changes = f"; {html.escape(self.changes)}" if self.changes else ""
        return f"<cite>{title}</cite> by {creator}{licence}{changes}"

    def markdown(self) -> str:
        """The same as Markdown with links; no text of the row is markup."""
        title = _markdown_link(self.title or UNTITLED, self.source_url)
        if not self.source_url and self.title:
            title = f"“{title}”"  # without a link it could begin a list or a heading
        parts = [f"{title} by {_markdown_link(self.creator or NO_CREATOR, self.creator_url)}"]
        if self.license_name:
            parts[0] += f" {self.verb} {_markdown_link(self.license_name, self.license_url)}"
        else:
            parts[0] += f", {NO_LICENSE}"
        return "; ".join([*parts, *([self.changes] if self.changes else [])])


READ_AT_ONCE = 4096
"""Rows."""
FIELDS = tuple(field.name for field in fields(Credit))


def credit(row: Mapping[str, Any]) -> Credit:
    """Make the credit of a catalog row that has `COLUMNS`."""
    license = licenses.parse(row["license"])
    return Credit(
        image_id=row["image_id"],
        title=clean(row["title"]),
        creator=clean(row["creator"]),
        creator_url=web_address(row["creator_url"]),
        source_url=web_address(row["page_url"]) or web_address(row["image_url"]),
        license=clean(row["license"]),
        license_name=license.name if license.known else clean(row["license"]),
        license_url=web_address(row["license_url"]) or license.url,
        changes=_changes(row),
    )


def credits(
    catalog: Catalog | str | Path,
    *,
    where: str | None = None,
    format: str = "text",
    out: str | Path | None = None,
) -> int:
    """Write the credits of the rows that match `where` (SQL, or a saved filter's name), in order; returns how many.

    `format` is text (one line each), csv, html (a page) or json (an array, one object per line). It writes to `out`, or
    to stdout. Rows stream, so memory stays small. In CSV a cell that a spreadsheet would run as a formula gets an
    apostrophe first, as OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection); JSON is unchanged.
    Raises CatalogError.
    """
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    where = expression(catalog, where)
    catalog.count(where)  # an invalid filter fails before a file is written
    return write_credits(credits_of(catalog, where), format, out)


def credits_of(catalog: Catalog, where: str | None = None) -> Iterator[Credit]:
    """The credit of each row that matches `where`, in table order."""
    for batch in catalog.scan(COLUMNS, where):
        yield from map(credit, batch.to_pylist())


def credits_of_rows(catalog: Catalog, row_ids: NDArray[np.uint64]) -> Iterator[Credit]:
    """The credit of each of the rows, in their order."""
    for start in range(0, len(row_ids), READ_AT_ONCE):
        rows = catalog.take(row_ids[start : start + READ_AT_ONCE], list(COLUMNS))
        yield from map(credit, rows.to_pylist())


def write_credits(credits: Iterable[Credit], format: str = "text", out: str | Path | None = None) -> int:
    """Write credits in a format of `WRITERS`; returns their number. Raises CatalogError."""
    if format not in WRITERS:
        raise CatalogError(f"there is no credits format {format}; there are: {', '.join(WRITERS)}")
    with _opened(out) as file:
        return WRITERS[format](credits, file)


def read_credits(path: str | Path) -> Iterator[Credit]:
    """Read the credits of a CSV file from `write_credits`. Raises CatalogError."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield Credit(**{name: text_of_cell(row[name]) for name in FIELDS})  # type: ignore[arg-type]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise CatalogError(f"{path} can't be read as credits: {error}") from error


def _write_text(credits: Iterable[Credit], file: TextIO) -> int:
    count = 0
    for one in credits:
        file.write(f"{visible(one.text())}\n")
        count += 1
    return count


def _write_csv(credits: Iterable[Credit], file: TextIO) -> int:
    writer = csv.writer(file)
    writer.writerow([*FIELDS, "credit"])
    count = 0
    for one in credits:
        writer.writerow([cell(getattr(one, name)) for name in FIELDS] + [cell(one.text())])
        count += 1
    return count


def _write_json(credits: Iterable[Credit], file: TextIO) -> int:
    count = 0
    for one in credits:
        file.write(",\n" if count else "[\n")
        row = {name: getattr(one, name) for name in FIELDS}
        file.write(escaped_json(json.dumps({**row, "credit": one.text()}, ensure_ascii=False)))
        count += 1
    file.write("\n]\n" if count else "[]\n")
    return count


def _write_html(credits: Iterable[Credit], file: TextIO) -> int:
    file.write(_PAGE_HEAD)
    count = 0
    for one in credits:
        file.write(f'<li id="{html.escape(visible(one.image_id))}">{one.html()}</li>\n')
        count += 1
    file.write(f"</ul>\n<footer>{count:,} image{'' if count == 1 else 's'}</footer>\n</body>\n</html>\n")
    return count


WRITERS: dict[str, Callable[[Iterable[Credit], TextIO], int]] = {
    "text": _write_text,
    "csv": _write_csv,
    "html": _write_html,
    "json": _write_json,
}

_PAGE_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Image credits</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.75rem; margin-bottom: 0.25rem; }
header p, footer { opacity: 0.7; }
ul { padding: 0; list-style: none; border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
li { padding: 0.6rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
li { overflow-wrap: anywhere; }
cite { font-weight: 600; }
a { color: light-dark(#0b5cad, #7cb8f5); text-underline-offset: 0.15em; }
</style>
</head>
<body>
<header>
<h1>Image credits</h1>
<p>People made these images and let others use them. These are their names, works and licences.</p>
</header>
<ul>
"""


@contextmanager
def _opened(out: str | Path | None) -> Iterator[TextIO]:
    """stdout, or a file that appears only when it is complete."""
    if out is None:
        yield sys.stdout
        return
    path = Path(out)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise CatalogError(f"credits can't be written to {path}: {why(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


def _changes(row: Mapping[str, Any]) -> str | None:
    before, after = (row["original_width"], row["original_height"]), (row["width"], row["height"])
    if None in before or None in after:
        return None
    if before == after:
        return "converted to another file format"
    return f"resized from {before[0]} × {before[1]} to {after[0]} × {after[1]} pixels"


def _markdown_link(text: str, url: str | None) -> str:
    """CommonMark 0.31, section 6.3: `<...>` holds any address without these marks."""
    if not url:
        return markdown_cell(text)
    address = re.sub(r"[<>\\\s&]", lambda mark: "&amp;" if mark[0] == "&" else quote(mark[0]), url)
    return f"[{markdown_cell(text)}](<{address}>)"


def _linked(text: str, url: str | None) -> str:
    return f"{text} ({url})" if url else text


def _anchor(text: str, url: str | None, rel: str = "noopener nofollow") -> str:
    escaped = html.escape(text)
    return f'<a href="{html.escape(url)}" rel="{rel}">{escaped}</a>' if url else escaped
