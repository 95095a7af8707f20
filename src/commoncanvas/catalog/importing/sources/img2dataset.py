"""Output of img2dataset: WebDataset shards, Parquet files, or folders of files.

https://github.com/rom1504/img2dataset. Licence and creator must be in its `save_additional_columns`, or options give
them for all rows. A shard is `00000.tar` or a folder `00000`, with `00000.parquet` beside it, or only that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import check_columns, row_by_aliases, web_address
from commoncanvas.catalog.importing.sources.countries import stated
from commoncanvas.catalog.importing.sources.embedded import Pending, image_bytes, store_of, with_images
from commoncanvas.catalog.importing.sources.inputs import collections, files_within, input_files, sizes
from commoncanvas.catalog.importing.sources.records import parse_json
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.core.errors import SourceError
from commoncanvas.images.tasks import MAX_BYTES
from commoncanvas.readers.archives import COMPRESSED, check_end, samples, scattered
from commoncanvas.readers.tables import IMAGE_ROWS, parquet_rows, parquet_schema
from commoncanvas.readers.walk import IMAGE_ENDINGS, LEADS_OUT, ImageFolder
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY

_METADATA_ROWS = 1024

# img2dataset's own columns, which are not read as provenance. EXIF is not read because it can contain the location.
_OWN = frozenset(("status", "error_message", "width", "height", "exif", "md5", "sha512", "url"))


class Img2Dataset(RowSource):
    """Rows `img2dataset:<collection>/<key>`. If img2dataset failed to download an image, `fetch` tries again.

    `columns` can name the column with the two-letter code of the picture's country: {"country": "cc"}.
    """

    name = "img2dataset"

    def __init__(self, options: SourceOptions) -> None:
        taken = ("paths", "license", "creator", "name", "label_column", "columns")
        options.only(self.name, *taken, "size")
        for name in options.columns:
            if name != "country":
                raise SourceError(f"source {self.name} can't map column {name}, only country")
        self.country = options.columns.get("country")
        self.columns = (COUNTRY,) if self.country else ()
        files = input_files(options, self.name, (".parquet", ".tar"))
        self.collections = collections(options, files, self.name)
        self.license = licenses.require(options.license, where="--license") if options.license else None
        self.creator = options.creator
        self.label_column = options.label_column
        self.store = store_of(options)
        self._columns = {path: self._checked(path) for path in files if path.suffix == ".parquet"}
        tars = [path for path in files if path.suffix != ".parquet"]
        for path in tars:
            check_end(path)
        # A shard's tar file comes before its Parquet file, which adds the rows that the tar lacks.
        self._shards = list(dict.fromkeys(path.with_suffix("") for path in files))
        self._tars = set(tars)
        folders = (path for path in options.paths if path.is_dir())
        self._packed = [file for folder in folders for file in files_within(folder, COMPRESSED)]

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for path in self._packed:
            report.remark(path.name, "file ignored", "a compressed archive; unpack it and import again")
        return with_images(self._pending(report), self.store, report)

    def _checked(self, path: Path) -> list[str]:
        schema = parquet_schema(path)
        if "key" not in schema.names or not {"url", *IMAGE_ENDINGS} & set(schema.names):
            raise SourceError(
                f"{path} is not a file of img2dataset: it needs the column key, and url or {IMAGE_ENDINGS[0]}; "
                "give only img2dataset's output"
            )
        named = [name for name in schema.names if name not in _OWN]
        check_columns(str(path), named, self.license, self.creator)
        if self.label_column and self.label_column not in schema.names:
            raise SourceError(f"{path} has no column {self.label_column!r} for labels")
        if self.country and self.country not in schema.names:
            raise SourceError(f"{path} has no column {self.country!r} for countries")
        images = (pa.binary(), pa.large_binary(), pa.binary_view())
        columns = [
            name
            for name in schema.names
            if name != "exif" and (name in IMAGE_ENDINGS or schema.field(name).type not in images)
        ]
        if "key" not in columns:
            raise SourceError(f"{path}: its column key is not text")
        return columns

    def _pending(self, report: Report) -> Iterator[Pending]:
        for shard in self._shards:
            seen: set[str] = set()
            if (tar := shard.with_suffix(".tar")) in self._tars:
                yield from self._from_tar(tar, seen, report)
            if (parquet := shard.with_suffix(".parquet")) in self._columns:
                yield from self._from_parquet(parquet, seen, report)

    def _from_tar(self, path: Path, seen: set[str], report: Report) -> Iterator[Pending]:
        # Without this check, an image whose json comes later would get the default licence.
        split = scattered(path) if self.license else set()
        for sample in samples(path, report):
            key, parts = sample.key, sample.parts
            where = f"{path.name} sample {key}"
            if key in seen or key in split:
                report.skip(where, "scattered sample", "its files don't follow each other in the archive")
                continue
            seen.add(key)
            if sample.twice is not None:
                report.skip(where, "duplicate part", f"{key}.{sample.twice} occurs twice")
                continue
            if "json" not in sample.names and self.license is None:
                report.skip(where, "no metadata", f"it has no {key}.json, and --license is not set")
                continue
            if "json" in sample.names and "json" not in parts:
                report.skip(where, "no metadata", f"{key}.json was not read")
                continue
            record = parse_json(where, parts["json"], report) if "json" in parts else {}
            if record is None:
                continue
            if "txt" in parts and "caption" not in record:
                record["caption"] = parts["txt"].decode(errors="replace")
            row = self._row(path, where, key, record, sample.image, report)
            if row is not None:
                yield where, row, sample.image

    def _from_parquet(self, path: Path, seen: set[str], report: Report) -> Iterator[Pending]:
        columns = self._columns[path]
        images = [name for name in IMAGE_ENDINGS if name in columns]
        shards = ImageFolder(path.parent) if not images and path.with_suffix("").is_dir() else None
        batch_size = IMAGE_ROWS if images else _METADATA_ROWS
        for where, record in parquet_rows(path, report, columns, batch_size):
            key = fields.text(record["key"])
            if key is None or not re.fullmatch(r"[\w-]{1,200}", key):
                report.skip(where, "no key", f"field key: {str(record['key'])[:60]!r}")
                continue
            if key in seen:
                continue
            data = next((found for name in images if (found := image_bytes(record[name]))), None)
            if shards:
                data = _file(shards, path.stem, key, where, report)
            record = {name: value for name, value in record.items() if name not in images}
            if "txt" in record and "caption" not in record:
                record["caption"] = record.pop("txt")
            row = self._row(path, where, key, record, data, report)
            if row is not None:
                yield where, row, data

    def _row(
        self, path: Path, where: str, key: str, record: dict[str, Any], data: bytes | None, report: Report
    ) -> dict[str, Any] | None:
        url = web_address(record.get("url"))
        if data is None and url is None:
            report.skip(
                where, "no image", f"no image file, and no address in {str(record.get('url'))[:60]!r}"
            )
            return None
        row = row_by_aliases(
            self.name,
            "/".join((*self.collections[path.parent], key)),
            where,
            {name: value for name, value in record.items() if name not in _OWN},
            report,
            license=self.license,
            creator=self.creator,
            label_column=self.label_column,
        )
        if row is None:
            return None
        if data is None:
            why = " ".join(str(record.get(name) or "") for name in ("status", "error_message")).strip()
            report.remark(where, "needs fetch", why[:100])
        return {**row, **sizes(record), "image_url": url, **stated(record, self.country, where, report)}


def _file(shards: ImageFolder, shard: str, key: str, where: str, report: Report) -> bytes | None:
    """Read the image of a row from the folder of its shard."""
    for kind in IMAGE_ENDINGS:
        name = f"{shard}/{key}.{kind}"
        path = shards.root / name
        with suppress(OSError):  # `fetch` tries again if the file can't be read
            if path.is_file() and path.stat().st_size <= MAX_BYTES:
                if not shards.leads_out(shards.real(path)):
                    return path.read_bytes()
                report.remark(where, "file ignored", f"{name} is a {LEADS_OUT}")
    return None
