"""Data sets in Hugging Face's layouts: a folder from `save_to_disk`, a folder of Parquet files, or a hub id.

A folder needs only pyarrow; a hub id needs the extra [huggingface].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from commoncanvas.catalog.export_folder import lists_removed
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import check_columns, web_address
from commoncanvas.catalog.importing.sources.described import DescribedSource
from commoncanvas.catalog.importing.sources.embedded import Pending, image_bytes, store_of, with_images
from commoncanvas.catalog.importing.sources.inputs import collections
from commoncanvas.catalog.importing.sources.source import SourceOptions
from commoncanvas.core.errors import MissingExtraError, SourceError
from commoncanvas.core.text import one_line
from commoncanvas.images.tasks import MAX_BYTES
from commoncanvas.readers.record import Record
from commoncanvas.readers.tables import (
    IMAGE_ROWS,
    parquet_rows,
    parquet_schema,
    stream_rows,
    stream_schema,
)
from commoncanvas.table.known_ids import Seen
from commoncanvas.table.report import Report

MAPPED = ("id", "image", "image_url", "country", *(name for name in fields.ALIASES if name != "file"))
"""Columns that the option `columns` can map."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:/[\w.-]+)?(?:@[\w./-]+)?")
_ADDRESSES = ("image_url", "img_url", "download_url", "original_url")


@dataclass(frozen=True)
class Part:
    """Rows of one file or split. Image paths start from `root`."""

    dataset: str
    name: str
    """Name of the file or split within the data set."""
    columns: Sequence[str]
    images: Sequence[str]
    """Columns with image files."""
    read: Callable[[Report], Iterator[Record]]
    root: Path | None = None


class HuggingFace(DescribedSource):
    """Rows `huggingface:<data set>/<id>`. The id doesn't depend on the row's position: it is the column mapped to `id`,
    else the first of `fields.KEYS`, else a digest of the image's address or of the image.

    `columns` maps catalog names to the data set's names: {"image": "img", "license": "lic"}. Other columns are found by
    their usual names, except `country` (two letters). A hub id is OWNER/NAME or OWNER/NAME/CONFIG; @REVISION pins it.
    """

    name = "huggingface"

    def __init__(self, options: SourceOptions) -> None:
        taken = ("paths", "columns", "license", "creator", "name", "label_column")
        options.only(self.name, *taken, "size")
        self.map = options.mapping(*MAPPED)
        super().__init__(options)
        self.store = store_of(options)
        self.parts = list(_parts(options, self.name))
        for part in self.parts:
            self._check(part)

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        return with_images(self._pending(report), self.store, report)

    def _check(self, part: Part) -> None:
        wanted = [*self.map.values(), *((self.label_column,) if self.label_column else ())]
        missing = [name for name in wanted if name not in part.columns]
        if missing:
            raise SourceError(
                f"{part.dataset} ({part.name}) has no column {', '.join(missing)}; it has: {', '.join(part.columns)}"
            )
        if not self._image_column(part) and not self._address_columns(part):
            raise SourceError(
                f"{part.dataset} ({part.name}) has no unique image column among {', '.join(part.columns)}; "
                "name it with --column image=NAME, or a column of addresses with --column image_url=NAME"
            )
        table = f"{part.dataset} ({part.name})"
        check_columns(table, part.columns, self.license, self.creator, self.map)

    def _image_column(self, part: Part) -> str | None:
        if "image" in self.map:
            return self.map["image"]
        return part.images[0] if len(part.images) == 1 else None

    def _address_columns(self, part: Part) -> list[str]:
        if "image_url" in self.map:
            return [self.map["image_url"]]
        # If there is an image column too, `url` can be the address of its page.
        names = _ADDRESSES if self._image_column(part) else (*_ADDRESSES, "url")
        return [name for name in names if name in part.columns]

    def _pending(self, report: Report) -> Iterator[Pending]:
        seen = Seen()
        for part in self.parts:
            column, addresses = self._image_column(part), self._address_columns(part)
            for where, record in part.read(report):
                data = _image(record.get(column), part.root) if column else None
                url = next((url for name in addresses if (url := web_address(record.get(name)))), None)
                if data is None and url is None:
                    report.skip(where, "no image", f"field {column or addresses[0]} has no image")
                    continue
                identity = self._identity(part, record, url, data)
                if identity is None:
                    report.skip(where, "no id", f"field {self.map['id']} is empty")
                    continue
                if not seen.first(f"{part.dataset}/{identity}"):
                    report.skip(
                        where,
                        "duplicate id",
                        f"{identity[:60]!r}; name a column with unique values with --id-column, "
                        "or import the splits separately, each with its own --name",
                    )
                    continue
                row = self._row(part, identity, where, record, {*addresses, *part.images}, report)
                if row is not None:
                    yield where, {**row, "image_url": url}, data

    def _identity(
        self, part: Part, record: dict[str, Any], url: str | None, data: bytes | None
    ) -> str | None:
        """The id of a row with an address or an image; None if the id column that the user named is empty."""
        if "id" in self.map:
            return fields.text(record[self.map["id"]])
        names = {fields.normalise(name): name for name in reversed(part.columns)}
        key = next((names[key] for key in fields.KEYS if key in names), None)
        if key is not None and (identity := fields.text(record[key])) is not None:
            return identity
        return fields.digest_id(url if url is not None else data or b"")

    def _row(
        self, part: Part, identity: str, where: str, record: dict[str, Any], used: set[str], report: Report
    ) -> dict[str, Any] | None:
        columns = {name: key for name, key in self.map.items() if name in fields.ALIASES}
        labels = (columns.get("label"), self.label_column)
        named = {
            key: value
            for key, value in record.items()
            if (key not in used or key in columns.values())
            # A class number is not a text to train on.
            and (_is_text(value) or not (key in labels or _is_alias(key, "label")))
        }
        row = self.described(f"{part.dataset}/{identity}", where, named, report, columns)
        return row and {**row, **self.measures(where, record, report)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _is_alias(name: str, column: str) -> bool:
    return fields.normalise(name) in fields.ALIASES[column]


def _parts(options: SourceOptions, source: str) -> Iterator[Part]:
    paths = options.paths
    if not paths:
        raise SourceError(f"source {source} needs the PATH of a data set's folder or files, or a hub id")
    local = [path for path in paths if path.exists()]
    files: list[Path] = []
    for path in local:
        files += saved_files(path) if path.is_dir() else [path]
        if not files:
            raise SourceError(f"{path} has no Parquet file, and is not a folder from save_to_disk")
    names = collections(options, files, source)
    for file in dict.fromkeys(files):
        dataset, *folders = names[file.parent]
        yield _file_part(file, dataset, "/".join((*folders, file.stem)))
    for path in paths:
        if path not in local:
            hub_id = path.as_posix()
            if not _HUB_ID.fullmatch(hub_id):
                raise SourceError(f"{path} does not exist, and is not a hub id (OWNER/NAME)")
            yield from hub_parts(hub_id, options.name)


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of all splits in a folder from `save_to_disk`; else the Parquet files below the folder."""
    states = sorted(folder.rglob("state.json"))
    found = [path for state in states for path in sorted(state.parent.glob("*.arrow"))]
    tables = (path for path in folder.rglob("*.parquet") if path.is_file())
    return found or sorted(path for path in tables if not lists_removed(path))


def _file_part(path: Path, dataset: str, name: str) -> Part:
    arrow = path.suffix == ".arrow"
    schema = stream_schema(path) if arrow else parquet_schema(path)
    images = [field.name for field in schema if _holds_images(field)]

    def read(report: Report) -> Iterator[Record]:
        return stream_rows(path, report) if arrow else parquet_rows(path, report, batch_size=IMAGE_ROWS)

    return Part(dataset, name, schema.names, images, read, path.parent)


def _holds_images(field: pa.Field) -> bool:
    """`datasets` stores an image as a struct of its bytes and its path."""
    if pa.types.is_struct(field.type):
        return {"bytes", "path"} == {inner.name for inner in field.type}
    return field.type in (pa.binary(), pa.large_binary())


def hub_parts(hub_id: str, name: str | None = None) -> Iterator[Part]:
    """Every split of a data set on the hub (or in a folder), streamed by `datasets`.

    Raises MissingExtraError without the extra, SourceError if `datasets` can't open it.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            "the package datasets is missing; pip install 'commoncanvas[huggingface]'"
        ) from error
    repository, _, revision = hub_id.partition("@")
    owner, _, rest = repository.partition("/")
    dataset, _, config = rest.partition("/")
    path, configuration = (
        (repository, None) if Path(repository).is_dir() else (f"{owner}/{dataset}", config or None)
    )
    try:
        splits = datasets.load_dataset(path, configuration, revision=revision or None, streaming=True)
    except Exception as error:  # its formats and file systems raise many kinds of errors
        raise _unreadable(hub_id, error) from error
    for split, stream in splits.items():
        try:
            # Some formats, such as JSON lines, get their features only from the first rows.
            stream = stream if stream.features else stream._resolve_features()
        except Exception as error:
            raise _unreadable(f"{hub_id} split {split}", error) from error
        features = dict(stream.features or {})
        typed = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
        for column in typed:
            stream = stream.cast_column(column, datasets.Image(decode=False))
        bare = datasets.Value("binary"), datasets.Value("large_binary")
        images = [
            name
            for name, feature in features.items()
            if name in typed
            or feature in bare
            or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})
        ]
        yield Part(
            name or path,
            split,
            list(features),
            images,
            _reading(hub_id, split, stream),
        )


def _reading(hub_id: str, split: str, stream: Any) -> Callable[[Report], Iterator[Record]]:
    def read(report: Report) -> Iterator[Record]:
        rows, row = iter(stream), 0
        while True:
            try:
                record = next(rows, None)
            except Exception as error:
                raise _unreadable(f"{hub_id} split {split} after row {row}", error) from error
            if record is None:
                return
            row += 1
            yield f"{hub_id} split {split} row {row}", record

    return read


def _unreadable(name: str, error: Exception) -> SourceError:
    return SourceError(f"datasets can't read {name}: {one_line(error)}")


def _image(value: Any, root: Path | None) -> bytes | None:
    """The image file in a cell, or the file below `root` that the cell's path names."""
    value = fields.single(value)
    if (data := image_bytes(value)) is not None or root is None or not isinstance(value, dict):
        return data
    path = root / str(value.get("path") or "")
    try:
        inside = path.resolve().is_relative_to(root.resolve()) and path.is_file()
        return path.read_bytes() if inside and path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        return None
