"""The released CommonCatalog: Parquet files with Flickr photos, their creators, and captions by BLIP-2.

https://huggingface.co/datasets/common-canvas/commoncatalog-cc-by, and five more for other licences.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import pyarrow as pa

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import RawFields, base_row
from commoncanvas.catalog.importing.sources.countries import COORDINATES, PLACE
from commoncanvas.catalog.importing.sources.embedded import Pending, image_bytes, store_of, with_images
from commoncanvas.catalog.importing.sources.inputs import input_files, sizes
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.tables import IMAGE_ROWS, parquet_rows, parquet_schema
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY

CAPTION = "blip2_caption"
CAPTIONER = "BLIP-2, as released with common-canvas/commoncatalog"

_NEEDED = ("jpg", "photoid", "uid", "unickname", "licensename", "licenseurl")
# `exif` is not read because it can contain the location.
_WANTED = (
    *_NEEDED,
    *COORDINATES,
    CAPTION,
    "original_width",
    "original_height",
    "title",
    "description",
    "usertags",
    "datetaken",
    "dateuploaded",
    "pageurl",
    "downloadurl",
    "url",
)


class CommonCatalog(RowSource):
    """Rows `flickr:<photo id>` with image and caption. All sources of Flickr photos use these ids.

    Longitude and latitude are read only to find the country, and are not stored.

    `--label-column caption` uses the column `caption` as human text; the default is no column.
    """

    name = "commoncatalog"
    columns: tuple[pa.Field, ...] = (
        # The release doesn't say which weights wrote the captions, so its name identifies them.
        ColumnInfo(hashlib.sha256(CAPTIONER.encode()).hexdigest(), (("image", None),), (), CAPTIONER).field(
            CAPTION, pa.string()
        ),
        COUNTRY,
    )

    def __init__(self, options: SourceOptions) -> None:
        options.only(self.name, "paths", "label_column", "size")
        self.files = input_files(options, self.name, (".parquet",))
        self.store = store_of(options)
        self.label_column = options.label_column
        if self.label_column == CAPTION:
            raise SourceError(
                f"{CAPTION} can't be the label column: a model wrote it; it is imported as its own column"
            )
        self._read = [self._checked(path) for path in self.files]

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        return with_images(self._pending(report), self.store, report)

    def _checked(self, path: Path) -> list[str]:
        """The columns to read from one file."""
        names = parquet_schema(path).names
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise SourceError(
                f"{path} has no column {', '.join(missing)}; source {self.name} reads the Parquet files of "
                "common-canvas/commoncatalog-*"
            )
        if self.label_column and self.label_column not in names:
            raise SourceError(f"{path} has no column {self.label_column!r} for labels")
        wanted = dict.fromkeys((*_WANTED, *((self.label_column,) if self.label_column else ())))
        return [name for name in wanted if name in names]

    def _pending(self, report: Report) -> Iterator[Pending]:
        for path, columns in zip(self.files, self._read, strict=True):
            for where, record in parquet_rows(path, report, columns, IMAGE_ROWS):
                row = self._row(where, record, report)
                if row is None:
                    continue
                data = image_bytes(record["jpg"])
                if data is None and row["image_url"] is None:
                    report.skip(where, "no image", "no image file and no address")
                    continue
                if data is None:
                    report.remark(where, "needs fetch", "field jpg is empty")
                yield where, row, data

    def _row(self, where: str, record: dict[str, Any], report: Report) -> dict[str, Any] | None:
        photo = fields.text(record["photoid"])
        if photo is None or not re.fullmatch(r"[0-9]{1,20}", photo):
            report.skip(where, "no photo id", f"field photoid: {record['photoid']!r}"[:100])
            return None
        license = read_license(
            where, {name: record[name] for name in ("licensename", "licenseurl")}, report, source="flickr"
        )
        if license is None:
            return None
        user = fields.text(record["uid"])
        raw = RawFields(
            creator=decoded(record["unickname"]),
            creator_url=f"https://www.flickr.com/people/{quote(decoded(user) or user, safe='@')}/"
            if user
            else None,
            title=decoded(record.get("title")),
            description=decoded(record.get("description")),
            page_url=record.get("pageurl"),
            image_url=record.get("downloadurl") or record.get("url"),
            tags=tags(record.get("usertags")),
            taken_at=record.get("datetaken"),
            uploaded_at=fields.since_epoch(record.get("dateuploaded")),
            label=decoded(record[self.label_column]) if self.label_column else None,
        )
        row = base_row("flickr", photo, where, license, raw, report)
        place = tuple(record.get(name) for name in COORDINATES)
        return row and {**row, **sizes(record), CAPTION: fields.text(record.get(CAPTION)), PLACE: place}


def decoded(value: Any) -> str | None:
    """Decode a text: YFCC100M percent-encodes texts and writes + for a space.

    A text is decoded only if all its characters fit that encoding: "C++ in 50% of cases" has spaces, so it isn't
    encoded. A + counts as a space even if the text has no %.
    """
    written = fields.text(value)
    if written is None or not re.fullmatch(r"(?:[A-Za-z0-9_.\-~*+,@]|%[0-9A-Fa-f]{2})*", written):
        return written
    try:
        return unquote_plus(written, errors="strict").strip() or None
    except UnicodeDecodeError:
        return written


def tags(value: Any) -> list[str] | None:
    """Tags separated by commas, each encoded separately."""
    written = fields.text(value) or ""
    return fields.tag_list([decoded(tag) for tag in written.split(",") if tag.strip()])
