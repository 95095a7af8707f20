"""Shards of an export, as WebDataset tar or Parquet files, with or without images. The same rows give the same file."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas.catalog.credits import COLUMNS as CREDIT_COLUMNS
from commoncanvas.catalog.credits import credit
from commoncanvas.core.redact import redacted
from commoncanvas.table.columns import FINGERPRINT, ColumnInfo
from commoncanvas.table.texts import first_text

_URLS = ("page_url", "image_url", "image_url_2", "creator_url", "license_url")
# `columns` puts image_id and image first; fetch columns and fingerprints mean nothing to others.
_LEFT_OUT = ("image", "fetch_status", "fetch_error", "image_id")
_MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"RIFF", "webp"))


class Writer(Protocol):
    """Writes rows (dicts with the columns of `columns`) to one shard."""

    ending: ClassVar[str]
    images: ClassVar[bool]
    """Whether the shards contain the images."""
    read_at_once: ClassVar[int]
    """Rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None: ...

    def add(self, number: int, row: Mapping[str, Any]) -> int:
        """Write a row; returns its bytes of images (of text, in a shard without images)."""

    def close(self) -> None: ...


def columns(schema: pa.Schema, images: bool) -> list[str]:
    """The exported columns: identity, provenance, sizes, texts and scores, but no latents and no text states."""
    made = (ColumnInfo.of(field) for field in schema)
    left_out = {*_LEFT_OUT, *(info.settings.get(FINGERPRINT) for info in made if info)}
    kept = [field.name for field in schema if field.name not in left_out and _readable(field.type)]
    return ["image_id", *(["image"] if images else []), *kept]


def _readable(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _readable(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_timestamp(kind)
        or kind in (pa.float32(), pa.float64())
    )


def public(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for other people: with its credit and text, without local addresses, passwords and URL signatures."""
    fields = {name: _redacted(value) for name, value in row.items() if name != "image"}
    for name in _URLS:
        if _scheme(fields.get(name) or "") in ("", "file"):
            fields[name] = None
    for name, value in fields.items():
        if name.endswith("_model") and value and Path(value).is_absolute():
            fields[name] = Path(value).name
    fields["text"] = first_text(fields)
    fields["credit"] = credit({name: row[name] for name in CREDIT_COLUMNS}).text()
    return fields


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    return redacted(value) if isinstance(value, str) else value


def _scheme(url: str) -> str:
    """The scheme of a URL; empty if it is not a URL."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def suffix(image: bytes) -> str:
    """File ending for a stored image."""
    return next((ending for magic, ending in _MAGIC if image.startswith(magic)), "bin")


class Tar:
    """WebDataset (https://github.com/webdataset/webdataset): KEY.jpg, KEY.json, and KEY.txt if there is a text."""

    ending: ClassVar[str] = "tar"
    images: ClassVar[bool] = True
    read_at_once: ClassVar[int] = 64

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, number: int, row: Mapping[str, Any]) -> int:
        key, fields = f"{number:09}", public(row)
        self._member(f"{key}.{suffix(row['image'])}", row["image"])
        self._member(f"{key}.json", json.dumps(fields, ensure_ascii=False, default=_written).encode())
        if fields["text"]:
            self._member(f"{key}.txt", fields["text"].encode())
        return len(row["image"])

    def _member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o644
        self._tar.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        self._tar.close()


class Links:
    """Parquet without images, for people who fetch them again: addresses, digests, licences, credits and texts."""

    ending: ClassVar[str] = "parquet"
    images: ClassVar[bool] = False
    read_at_once: ClassVar[int] = 4096
    row_group: ClassVar[int] = 16384
    """Rows that a reader reads at once."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = parquet_schema(schema, self.images)
        searched = [name for name in self.schema.names if name != "image"]
        self._file = pq.ParquetWriter(path, self.schema, write_page_index=True, write_statistics=searched)
        self._rows: list[dict[str, Any]] = []

    def add(self, number: int, row: Mapping[str, Any]) -> int:
        fields = public(row)
        self._append(fields)
        return sum(len(value) for value in fields.values() if isinstance(value, str))

    def _append(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == self.row_group:
            self._write()

    def _write(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=self.schema))
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._write()
        self._file.close()


class Parquet(Links):
    """Parquet for Hugging Face's viewer and `datasets`: `image` has the unchanged bytes and is decoded when read."""

    images = True
    read_at_once = 64
    row_group = 100

    def add(self, number: int, row: Mapping[str, Any]) -> int:
        name = f"{number:09}.{suffix(row['image'])}"
        self._append({**public(row), "image": {"bytes": row["image"], "path": name}})
        return len(row["image"])


WRITERS: dict[str, type[Writer]] = {
    "webdataset": Tar,
    "parquet": Parquet,
    "huggingface": Parquet,
    "links": Links,
}


def parquet_schema(schema: pa.Schema, images: bool) -> pa.Schema:
    """Schema of a Parquet shard for a catalog with `schema`; its metadata has the features for `datasets`."""
    stored = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    fields = stored if images else []
    fields += [pa.field(name, schema.field(name).type) for name in columns(schema, images=False)]
    fields += [pa.field("text", pa.string()), pa.field("credit", pa.string())]
    described = {"info": {"features": features(fields)}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(described)})


def features(fields: Sequence[pa.Field]) -> dict[str, Any]:
    """The fields in the form of `datasets.Features.to_dict`."""
    return {
        field.name: {"_type": "Image"} if field.name == "image" else _feature(field.type) for field in fields
    }


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    names = {pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
