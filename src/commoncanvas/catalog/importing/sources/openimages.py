"""Open Images: its lists of images with their authors (`image_ids_and_rotation.csv` and the files of each subset).

https://storage.googleapis.com/openimages/web/download_v7.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import RawFields, base_row, web_address
from commoncanvas.catalog.importing.sources.inputs import input_files
from commoncanvas.catalog.importing.sources.records import check_metadata, read_records
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report
from commoncanvas.table.schema import STATED, STATED_BYTES, STATED_MD5, STATED_ROTATION

_NEEDED = ("ImageID", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL", "Author", "Title")
_TURNS = {text: degrees for degrees in (90, 180, 270) for text in (f"{degrees}", f"{degrees}.0")}
_UPRIGHT = ("0", "0.0", "nan")  # nan: unknown


class OpenImages(RowSource):
    """Rows `openimages:<image id>`, 16 hexadecimal digits."""

    name = "openimages"
    columns = STATED

    def __init__(self, options: SourceOptions) -> None:
        options.only(self.name, "paths")
        self.files = input_files(options, self.name, (".csv",))
        for path in self.files:
            columns = check_metadata(path) or []
            missing = [name for name in _NEEDED if name not in columns]
            if missing:
                raise SourceError(
                    f"{path} has no column {', '.join(missing)}; source {self.name} reads lists of images, "
                    "not lists of boxes or labels"
                )

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for path in self.files:
            for where, record in read_records(path, report):
                row = self._row(where, record, report)
                if row is not None:
                    yield row

    def _row(self, where: str, record: dict[str, Any], report: Report) -> dict[str, Any] | None:
        image = record["ImageID"].strip().lower()
        if not re.fullmatch(r"[0-9a-f]{16}", image):
            report.skip(where, "no image id", f"field ImageID: {record['ImageID'][:60]!r}")
            return None
        if web_address(record["OriginalURL"]) is None:
            report.skip(where, "no image address", f"field OriginalURL: {record['OriginalURL'][:60]!r}")
            return None
        license = read_license(where, {"License": record["License"]}, report)
        if license is None:
            return None
        raw = RawFields(
            creator=record["Author"],
            creator_url=record["AuthorProfileURL"],
            title=record["Title"],
            page_url=record["OriginalLandingURL"],
            image_url=record["OriginalURL"],
        )
        row = base_row(self.name, image, where, license, raw, report)
        if row is None:
            return None
        return {**row, **_stated(where, record, report)}


def _stated(where: str, record: dict[str, Any], report: Report) -> dict[str, Any]:
    """Size and MD5, with which `fetch` checks that the file has not changed, and the rotation."""
    size, md5, turn = (fields.text(record.get(name)) for name in ("OriginalSize", "OriginalMD5", "Rotation"))
    stated: dict[str, Any] = {}
    if size:
        if re.fullmatch(r"[0-9]{1,12}", size):
            stated[STATED_BYTES.name] = int(size)
        else:
            report.remark(where, "kept without size", f"field OriginalSize: {size[:30]!r}")
    if md5:
        try:
            digest = base64.b64decode(md5, validate=True)
        except ValueError:
            digest = b""
        if len(digest) == 16:
            stated[STATED_MD5.name] = digest.hex()
        else:
            report.remark(where, "kept without MD5", f"field OriginalMD5: {md5[:30]!r}")
    if turn in _TURNS:
        stated[STATED_ROTATION.name] = _TURNS[turn]
    elif turn and turn.lower() not in _UPRIGHT:
        report.remark(where, "kept without rotation", f"field Rotation: {turn[:30]!r}")
    return stated
