"""Tombstones: the record of an image that was taken down, so that it stays out. It has no image and no name.

They are in the catalog's storage, one Parquet file per takedown, so that several processes can write at the same time.
A Lance table can't be created atomically (https://github.com/lance-format/lance/issues/4451).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from commoncanvas.creators.matching import Addresses, People
from commoncanvas.table.storage import FOLDER, Storage

PLACE = f"{FOLDER}/tombstones"

SCHEMA = pa.schema(
    [
        # Null in a creator's tombstone, which also keeps later images out.
        pa.field("image_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("phash", pa.uint64()),
        pa.field("page_url", pa.string()),
        pa.field("image_url", pa.string()),
        # The creator's URL, or the platform's user id in it.
        pa.field("creator_url", pa.string()),
        # `name_hash` of the creator's name, for rows that have only the name.
        pa.field("creator_sha256", pa.string()),
        # `near_marks` of the creator's names: hashes to find similar names, which a person must check.
        pa.field("creator_near", pa.list_(pa.uint64())),
        # Hashes of short pieces of the stored bytes (see byte_search.py), to search files for remains.
        pa.field("windows", pa.list_(pa.uint64())),
        pa.field("reason", pa.string()),
        pa.field("date", pa.timestamp("us", tz="UTC")),
    ]
)
COLUMNS = ("image_id", "source", "creator", "creator_url", "page_url", "image_url", "sha256", "phash")
"""Columns of the catalog that `Keys` reads or a tombstone stores."""


@dataclass(frozen=True)
class Keys:
    """Keys of rows. A row matches if it has any one of them."""

    image_ids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    """URLs of pages and images."""
    sha256s: frozenset[str] = frozenset()
    creator_urls: frozenset[str] = frozenset()
    """URLs of creators, or the user ids that the URLs end with."""
    creator_names: frozenset[str] = frozenset()
    """`name_hash` of names, for rows without a creator URL."""
    creator_near: frozenset[int] = frozenset()
    """`near_marks` of names. `near` finds their rows; `mask` doesn't."""

    @cached_property
    def addresses(self) -> Addresses:
        """`urls` in all spellings."""
        return Addresses(self.urls)

    @cached_property
    def people(self) -> People:
        """The creators in all spellings."""
        ids = [url for url in self.creator_urls if "://" not in url]
        return People(self.creator_urls - set(ids), ids, self.creator_names, self.creator_near)

    def __or__(self, other: Keys) -> Keys:
        return Keys(
            self.image_ids | other.image_ids,
            self.urls | other.urls,
            self.sha256s | other.sha256s,
            self.creator_urls | other.creator_urls,
            self.creator_names | other.creator_names,
            self.creator_near | other.creator_near,
        )

    def mask(self, rows: pa.Table) -> NDArray[np.bool_]:
        """[N] True for the rows that match. `rows` may lack any of COLUMNS."""
        found = np.zeros(len(rows), np.bool_)
        for name, wanted in (("image_id", self.image_ids), ("sha256", self.sha256s)):
            if wanted and name in rows.column_names:
                found |= _is_in(rows[name], _strings(wanted))
        for name in ("page_url", "image_url"):
            if self.urls and name in rows.column_names:
                found |= self.addresses.mask(rows[name])
        return found | self.people.masks(rows)[0]

    def near(self, rows: pa.Table) -> NDArray[np.bool_]:
        """[N] True for the rows whose creator may be one of these people. A person must decide."""
        return self.people.masks(rows)[1]


class Tombstones:
    """The tombstones of one catalog. Reading and writing them is safe in any number of processes."""

    def __init__(self, catalog_uri: str, storage_options: dict[str, str] | None = None) -> None:
        self._storage = Storage(catalog_uri, storage_options)
        self._files: set[str] = set()
        self._table = SCHEMA.empty_table()
        self._keys = Keys()

    def refresh(self) -> bool:
        """Read tombstones that other processes wrote; True if there are new ones."""
        new = {path for path in self._storage.files(PLACE) if path.endswith(".parquet")} - self._files
        if new:
            read = [pq.read_table(pa.BufferReader(self._storage.read(path))) for path in sorted(new)]
            self._table = pa.concat_tables([self._table, *read])
            self._keys = _keys(self._table)
            self._files |= new
        return bool(new)

    @property
    def table(self) -> pa.Table:
        """Columns of SCHEMA, as of the last `refresh`."""
        return self._table

    @property
    def keys(self) -> Keys:
        return self._keys

    def refused(self, rows: pa.Table) -> NDArray[np.bool_]:
        """[N] True for the rows that were taken down and must not be added. Reads the newest tombstones first."""
        self.refresh()
        return self._keys.mask(rows)

    def record(self, stones: Iterable[Mapping[str, Any]], reason: str) -> int:
        """Write the new ones of `stones` (dicts of SCHEMA's columns); returns how many."""
        self.refresh()
        known = {_identity(row) for row in self._table.to_pylist()}
        new = {_identity(stone): stone for stone in stones if _identity(stone) not in known}
        if new:
            about = {"reason": reason, "date": datetime.now(UTC)}
            rows = pa.Table.from_pylist([{**stone, **about} for stone in new.values()], schema=SCHEMA)
            sink = pa.BufferOutputStream()
            pq.write_table(rows, sink)
            self._storage.write(f"{PLACE}/{uuid.uuid4()}.parquet", sink.getvalue().to_pybytes())
            self.refresh()
        return len(new)


def _keys(table: pa.Table) -> Keys:
    def column(name: str) -> frozenset[str]:
        return frozenset(pc.unique(table[name]).drop_null().to_pylist())

    of_creators = table.filter(pc.is_null(table["image_id"]))
    near = pc.list_flatten(of_creators["creator_near"])
    return Keys(
        image_ids=column("image_id"),
        urls=column("page_url") | column("image_url"),
        sha256s=column("sha256"),
        creator_urls=frozenset(pc.unique(of_creators["creator_url"]).drop_null().to_pylist()),
        creator_names=frozenset(pc.unique(of_creators["creator_sha256"]).drop_null().to_pylist()),
        creator_near=frozenset(near.to_pylist()),
    )


def _identity(stone: Mapping[str, Any]) -> tuple[Any, ...]:
    if stone.get("image_id") is not None:
        return stone["image_id"], tuple(stone.get("windows") or ())
    near = tuple(sorted(stone.get("creator_near") or ()))
    return *(stone.get(name) for name in ("sha256", "page_url", "creator_url", "creator_sha256")), near


def _strings(values: Iterable[str]) -> pa.Array:
    return pa.array(list(values), pa.string())


def _is_in(values: pa.Array | pa.ChunkedArray, wanted: pa.Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = pc.is_in(values, value_set=wanted, skip_nulls=True).to_numpy(
        zero_copy_only=False
    )
    return mask
