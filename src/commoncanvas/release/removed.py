"""removed.parquet: which images were taken down, so that people can delete them from older copies of a data set.

It has hashes only: it names no image to anyone who doesn't have it, and no person. A row's key is the SHA-256 of its
`image_id`, a line feed and its `sha256`. Ids alone can be guessed (photo numbers), but not the digest of a file. Who
has a copy of the row can make the key; nobody else learns whose image was removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas.catalog.export_folder import REMOVED
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.tables import parquet_rows
from commoncanvas.release.data_folder import DataFolder
from commoncanvas.table.report import Report
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Keys, Tombstones

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])
_TEXTS = ("image_id", "sha256", "page_url", "image_url", "creator", "creator_url")
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Removed:
    """What removed.parquet lists. `since` counts rows of the former release that were taken down."""

    keys: int
    since: int = 0


def key_of(image_id: str, sha256: str | None) -> str:
    """The key of a row in removed.parquet: 64 hexadecimal digits."""
    return hashlib.sha256(f"{image_id}\n{sha256 or ''}".encode()).hexdigest()


def write_removed(path: Path, catalog: Catalog, former: DataFolder | None) -> Removed:
    """Write the keys of all that was taken down from `catalog`, of the rows of the `former` release that were, and of
    what that release lists already.
    """
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    rows = stones.table.select(["image_id", "sha256"]).to_pylist()
    keys = {key_of(row["image_id"], row["sha256"]) for row in rows if row["image_id"] is not None}
    since = set(map(_key_of_row, taken_down_rows(former, stones.keys))) if former else set()
    earlier = read_removed(former.path) if former else set()
    every = sorted(keys | since | earlier)
    partial = path.with_name(f".{path.name}.part")
    pq.write_table(pa.table({"key": every}, SCHEMA), partial)
    partial.replace(path)
    return Removed(len(every), len(since))


def read_removed(folder: Path) -> set[str]:
    """The keys in a folder's removed.parquet; none if it has no such file. Raises SourceError."""
    path = folder / REMOVED
    if not path.is_file():
        return set()
    keys = {str(row["key"]) for _, row in parquet_rows(path, Report(), ["key"])}
    wrong = next((key for key in keys if not _KEY.fullmatch(key)), None)
    if wrong is not None:
        raise SourceError(f"{path} has the key {wrong[:80]!r}, which is not 64 hexadecimal digits")
    return keys


def taken_down_rows(folder: DataFolder, keys: Keys) -> Iterator[dict[str, Any]]:
    """The rows of a data folder that match `keys`."""
    for batch in folder.batches(_TEXTS):
        columns = {name: pa.array([_text(row.get(name)) for row in batch], pa.string()) for name in _TEXTS}
        table = pa.table(columns)
        yield from table.filter(pa.array(keys.mask(table))).to_pylist()


def listed_rows(folder: DataFolder, removed: set[str]) -> Iterator[str]:
    """`image_id` of the rows of a data folder whose keys are in `removed`."""
    for batch in folder.batches(("image_id", "sha256")):
        yield from (str(row["image_id"]) for row in batch if _key_of_row(row) in removed)


def _key_of_row(row: dict[str, Any]) -> str:
    return key_of(str(row.get("image_id")), _text(row.get("sha256")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
