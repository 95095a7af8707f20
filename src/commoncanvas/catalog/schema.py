"""The columns that every catalog has from its first row on. Later stages add theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from commoncanvas.errors import CatalogError

FORMAT = 1
FORMAT_KEY = b"commoncanvas.format"

# The key makes Lance refuse two concurrent merge-inserts of one id; without it both would land.
_KEY = {"lance-schema:unenforced-primary-key": "true"}
_TIME = pa.timestamp("us", tz="UTC")

IDENTITY = (
    pa.field("image_id", pa.string(), nullable=False, metadata=_KEY),
    pa.field("source", pa.string(), nullable=False),
    pa.field("source_id", pa.string()),
    pa.field("page_url", pa.string()),
    pa.field("image_url", pa.string()),
)
PROVENANCE = (
    pa.field("license", pa.string()),
    pa.field("license_url", pa.string()),
    pa.field("creator", pa.string()),
    pa.field("creator_url", pa.string()),
    pa.field("title", pa.string()),
    pa.field("description", pa.string()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("taken_at", _TIME),
    pa.field("uploaded_at", _TIME),
    # Human text that may be trained on; what a model writes goes into `caption`.
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
SCHEMA = pa.schema([*IDENTITY, *PROVENANCE, *IMAGE], metadata={FORMAT_KEY: str(FORMAT).encode()})


def to_batch(rows: Iterable[Mapping[str, Any]]) -> pa.RecordBatch:
    """Rows as dicts of base columns -> a batch of SCHEMA; columns left out are null.

    Raises CatalogError for a key that is no base column or a value of another type.
    """
    listed = list(rows)
    names = SCHEMA.names
    unknown = {key for row in listed for key in row} - set(names)
    if unknown:
        raise CatalogError(f"rows have columns that no catalog has: {', '.join(sorted(unknown))}")
    try:
        columns = [pa.array([row.get(field.name) for row in listed], field.type) for field in SCHEMA]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CatalogError(f"a row does not fit the catalog's columns: {error}") from error
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def regroup(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows`, the last one shorter."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while len(batch):
            part = batch.slice(0, rows - count)
            batch = batch.slice(len(part))
            waiting.append(part)
            count += len(part)
            if count == rows:
                yield pa.Table.from_batches(waiting)
                waiting, count = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def first_of_each(table: pa.Table) -> pa.Table:
    """Without rows whose `image_id` came before: a merge-insert would insert both."""
    first: dict[str, int] = {}
    for row, image_id in enumerate(table["image_id"].to_pylist()):
        first.setdefault(image_id, row)
    return table if len(first) == len(table) else table.take(list(first.values()))
