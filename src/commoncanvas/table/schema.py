"""The columns of every new catalog. Stages add more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from commoncanvas.core.errors import CatalogError

FORMAT = 1
FORMAT_KEY = b"commoncanvas.format"

# The key makes Lance reject one of two concurrent merge-inserts of the same id.
_KEY = {"lance-schema:unenforced-primary-key": "true"}
_TIME = pa.timestamp("us", tz="UTC")

IDENTITY = (
    pa.field("image_id", pa.string(), nullable=False, metadata=_KEY),
    pa.field("source", pa.string(), nullable=False),
    pa.field("source_id", pa.string()),
    pa.field("page_url", pa.string()),
    pa.field("image_url", pa.string()),
    # A second URL of the same image, used if the first one fails.
    pa.field("image_url_2", pa.string()),
)
PROVENANCE = (
    pa.field("license", pa.string()),
    pa.field("license_url", pa.string()),
    pa.field("creator", pa.string()),
    pa.field("creator_url", pa.string()),
    pa.field("title", pa.string()),
    pa.field("description", pa.string()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("camera", pa.string()),
    pa.field("taken_at", _TIME),
    pa.field("uploaded_at", _TIME),
    # Human text to train on. Text by a model is in `caption`.
    pa.field("label", pa.string()),
)
IMAGE = (
    pa.field("image", pa.large_binary()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("original_width", pa.int32()),
    pa.field("original_height", pa.int32()),
    pa.field("sha256", pa.string()),
    pa.field("phash", pa.uint64()),
    pa.field("fetch_status", pa.string()),
    pa.field("fetch_error", pa.string()),
)
# What a source states about the file at `image_url`. Only some sources have these columns.
STATED_BYTES = pa.field("stated_bytes", pa.int64())
STATED_MD5 = pa.field("stated_md5", pa.string())  # 32 hexadecimal digits
STATED_ROTATION = pa.field("stated_rotation", pa.int16())  # degrees counterclockwise: 90, 180 or 270
STATED = (STATED_BYTES, STATED_MD5, STATED_ROTATION)
COUNTRY = pa.field("country", pa.string())
"""ISO 3166-1 alpha-2 code, in capitals, of the country where a picture was taken. Coordinates are never stored."""

# Names of columns that `curate` computes.
SHARPNESS, NSFW, COLOURS = "sharpness", "nsfw_opennsfw", "colours_8"
DUPLICATE_OF = "duplicate_of"
CHECKED = "duplicate_distance"
"""The distance used when the row was last compared with all others; null if it never was."""

SCHEMA = pa.schema([*IDENTITY, *PROVENANCE, *IMAGE], metadata={FORMAT_KEY: str(FORMAT).encode()})


def to_batch(rows: Iterable[Mapping[str, Any]], more: Sequence[pa.Field] = ()) -> pa.RecordBatch:
    """Rows as dicts -> a batch with the columns of SCHEMA and `more`. Missing values are null.

    Raises CatalogError for an unknown column or a value of the wrong type.
    """
    listed = list(rows)
    schema = pa.schema([*SCHEMA, *more], metadata=SCHEMA.metadata)
    names = schema.names
    unknown = {key for row in listed for key in row} - set(names)
    if unknown:
        raise CatalogError(f"rows have unknown columns: {', '.join(sorted(unknown))}")
    try:
        columns = [pa.array([row.get(field.name) for row in listed], field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CatalogError(f"a row does not fit the catalog's columns: {error}") from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def regroup(batches: Iterable[pa.RecordBatch], rows: int, max_bytes: int) -> Iterator[pa.Table]:
    """Group the rows into tables of at most `rows` rows and about `max_bytes` bytes.

    If `batches` raises an error, the rows before it are returned first.
    """
    waiting: list[pa.RecordBatch] = []
    count = size = 0
    try:
        for batch in batches:
            while len(batch):
                part = batch.slice(0, rows - count)
                batch = batch.slice(len(part))
                waiting.append(part)
                count += len(part)
                size += part.nbytes
                if count == rows or size >= max_bytes:
                    yield pa.Table.from_batches(waiting)
                    waiting, count, size = [], 0, 0
    except Exception:
        if waiting:
            yield pa.Table.from_batches(waiting)
        raise
    if waiting:
        yield pa.Table.from_batches(waiting)
