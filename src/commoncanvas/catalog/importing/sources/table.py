"""A table of images: CSV, TSV, JSON lines or Parquet. Each row names an image by its URL or by a file beside it."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import (
    check_columns,
    check_named,
    row_by_aliases,
    web_address,
)
from commoncanvas.catalog.importing.sources.countries import stated
from commoncanvas.catalog.importing.sources.inputs import input_files, sizes
from commoncanvas.catalog.importing.sources.records import READERS, check_metadata, read_records
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.catalog.local_images import TABLE
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.walk import LEADS_OUT, MISSING, OUTSIDE, ImageFolder
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY

IMAGES = (
    *("image_url", "img_url", "image_uri", "image_link", "image_address", "image_src", "download_url"),
    *("original_url", "media_url", "file_url", "src", *fields.ALIASES["file"], "url", "uri", "link", "href"),
)
"""Usual names of the image column; the first one is used. If there is another one, `url` is the page."""

MAPPED = ("id", "image_url", "image", "country", *fields.ALIASES)
"""Columns that the option `columns` can map; image_url, image and file mean the same."""


@dataclass(frozen=True)
class Listing:
    """One file. `image` is the image column; None if it is chosen for each record."""

    path: Path
    name: str
    """Its name in the ids of its rows."""
    folder: ImageFolder
    image: str | None


class Table(RowSource):
    """Rows `table:<name>/<id>`; the name is that of the given file or folder.

    The id is the column mapped to `id`, else the first of `fields.KEYS`, else the path of the image file or a digest of
    its address. Image files must be in the table's folder.
    """

    name = TABLE

    def __init__(self, options: SourceOptions) -> None:
        options.only(
            self.name, "paths", "columns", "license", "creator", "name", "label_column", "follow_links"
        )
        self.map = options.mapping(*MAPPED)
        self.image = next(
            (self.map[name] for name in ("image_url", "image", "file") if name in self.map), None
        )
        self.columns = (COUNTRY,) if "country" in self.map else ()
        self.license = licenses.require(options.license, where="--license") if options.license else None
        self.creator = options.creator
        self.label_column = options.label_column
        self.listings = list(self._listings(options))

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for listing in self.listings:
            before = _not_found(report)
            for where, record in read_records(listing.path, report):
                row = self._row(listing, where, record, report)
                if row is not None:
                    yield row
            if _not_found(report) > before:
                report.note(
                    f"{listing.path.name} names files that are not in {listing.folder.root}; if they are in another "
                    f"folder: commoncanvas catalog import folder FOLDER --metadata {listing.path}"
                )

    def _listings(self, options: SourceOptions) -> Iterator[Listing]:
        named: dict[str, Path] = {}
        for path in input_files(options, self.name, tuple(READERS)):
            given = next(
                (each for each in options.paths if each.is_dir() and path.is_relative_to(each)), path
            )
            absolute = Path(os.path.normpath(given.absolute()))
            name = options.name or absolute.stem
            if named.setdefault(name, absolute) != absolute:
                raise SourceError(
                    f"source {self.name} got {named[name]} and {absolute}, both with the name {name}; "
                    "import them separately, each with its own --name"
                )
            folder = ImageFolder(Path(os.path.normpath(path.absolute().parent)), options.follow_links)
            yield Listing(path, name, folder, self._checked(path))

    def _checked(self, path: Path) -> str | None:
        """The image column. Raises SourceError if no row of the file could be used."""
        columns = check_metadata(path)
        if columns is None:
            return self.image
        check_named(str(path), columns, self.map, self.label_column)
        check_columns(str(path), columns, self.license, self.creator, self.map)
        image = self.image or _named_image(columns)
        if image is None:
            raise SourceError(
                f"{path} has no image column among {', '.join(columns)}; name it with --column image_url=NAME"
            )
        return image

    def _row(
        self, listing: Listing, where: str, record: dict[str, Any], report: Report
    ) -> dict[str, Any] | None:
        column = listing.image or _named_image([name for name in record if fields.texts(record[name])])
        images = fields.texts(record.get(column)) if column else []
        if not images:
            report.skip(where, "no image", f"field {column or IMAGES[0]} is empty")
            return None
        if len(images) > 1:
            report.remark(where, "only first image kept", f"field {column} names {len(images)} images")
        found = _found(listing, where, f"field {column}: {images[0][:100]!r}", images[0], report)
        if found is None:
            return None
        address, name = found
        identity = self._identity(record, name)
        if identity is None:
            report.skip(where, "no id", f"field {self.map['id']} is empty")
            return None
        columns = {name: key for name, key in self.map.items() if name in fields.ALIASES and name != "file"}
        row = row_by_aliases(
            self.name,
            f"{listing.name}/{identity}",
            where,
            {key: value for key, value in record.items() if key != column or key in columns.values()},
            report,
            license=self.license,
            creator=self.creator,
            label_column=self.label_column,
            columns=columns,
        )
        country = stated(record, self.map.get("country"), where, report)
        return row and {**row, **sizes(record), **country, "image_url": address}

    def _identity(self, record: Mapping[str, Any], default: str) -> str | None:
        """The id of a row; None if the id column that the user named is empty."""
        if "id" in self.map:
            return next(iter(fields.texts(record.get(self.map["id"]))), None)
        named = {fields.normalise(str(name)): value for name, value in record.items()}
        return next((key for name in fields.KEYS if (key := fields.text(named.get(name)))), default)


def _named_image(columns: Sequence[str]) -> str | None:
    named = {fields.normalise(str(name)): name for name in reversed(columns)}
    return next((named[name] for name in IMAGES if name in named), None)


def _found(listing: Listing, where: str, shown: str, value: str, report: Report) -> tuple[str, str] | None:
    """(address of the image on the web or in the table's folder, its default id)"""
    if web := web_address(value):
        return web, fields.digest_id(web)
    if scheme := re.match(r"([a-z][a-z0-9+.-]+)://|data:", value, re.IGNORECASE):
        if (scheme[1] or "").lower() != "file":
            report.skip(where, "no image address", f"{shown} is neither an http address nor a file")
            return None
        value = unquote(re.sub(r"^file://(?:localhost)?", "", value, flags=re.IGNORECASE))
    found = listing.folder.find(value, listing.folder.root)
    if isinstance(found, str):
        report.skip(where, found, f"{shown}{'; --follow-links allows it' if found == LEADS_OUT else ''}")
        return None
    return (listing.folder.root / found[0]).as_uri(), unicodedata.normalize("NFC", found[0])


def _not_found(report: Report) -> int:
    return report.skipped[MISSING] + report.skipped[OUTSIDE]
