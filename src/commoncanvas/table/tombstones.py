"""Tombstones: what is kept of an image that was taken down, so that it stays out. No image, no name.

They are in the catalog's own storage, one Parquet file for each takedown, so that any number of processes can write
some at once: making a Lance table is not atomic (https://github.com/lance-format/lance/issues/4451).
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
        # Null in the record of a creator, whose later images stay out too.
        pa.field("image_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("phash", pa.uint64()),
        pa.field("page_url", pa.string()),
        pa.field("image_url", pa.string()),
        # An address, or the platform's user id within one.
        pa.field("creator_url", pa.string()),
        # Of the name (`name_hash`), where rows have no more of the creator than that.
        pa.field("creator_sha256", pa.string()),
        # `near_marks` of the creator's names: hashes, by which a person is told who may be the same.
        pa.field("creator_near", pa.list_(pa.uint64())),
        # Hashes of short pieces of the stored bytes (see byte_search.py), to look for what is left of them.
        pa.field("windows", pa.list_(pa.uint64())),
        pa.field("reason", pa.string()),
        pa.field("date", pa.timestamp("us", tz="UTC")),
    ]
)
COLUMNS = ("image_id", "source", "creator", "creator_url", "page_url", "image_url", "sha256", "phash")
"""Columns of the catalog that `Keys` looks at, or a tombstone keeps."""


@dataclass(frozen=True)
class Keys:
    """What rows are recognised by; one that has any of these is meant."""

    image_ids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    """Of the page or the image."""
    sha256s: frozenset[str] = frozenset()
    creator_urls: frozenset[str] = frozenset()
    """Addresses, or user ids that they end with."""
    creator_names: frozenset[str] = frozenset()
    """`name_hash` of names: of rows that have no address of their creator."""
    creator_near: frozenset[int] = frozenset()
    """`near_marks` of names: `near` finds their rows, `mask` doesn't."""

    @cached_property
    def addresses(self) -> Addresses:
        """`urls`, in every spelling."""
        return Addresses(self.urls)

    @cached_property
    def people(self) -> People:
        """The creators, in every spelling."""
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
        """[N] True for the rows that are meant. `rows` may lack any of COLUMNS."""
        found = np.zeros(len(rows), np.bool_)
        for name, wanted in (("image_id", self.image_ids), ("sha256", self.sha256s)):
            if wanted and name in rows.column_names:
                found |= _is_in(rows[name], _strings(wanted))
        for name in ("page_url", "image_url"):
            if self.urls and name in rows.column_names:
                found |= self.addresses.mask(rows[name])
        return found | self.people.masks(rows)[0]

    def near(self, rows: pa.Table) -> NDArray[np.bool_]:
        """[N] True for the rows whose creator may be one of these people, and a person has to say."""
        return self.people.masks(rows)[1]


class Tombstones:
    """The tombstones of one catalog. Reading and writing them is safe in any number of processes."""

    def __init__(self, catalog_uri: str, storage_options: dict[str, str] | None = None) -> None:
        self._storage = Storage(catalog_uri, storage_options)
        self._files: set[str] = set()
        self._table = SCHEMA.empty_table()
        self._keys = Keys()

    def refresh(self) -> bool:
        """Read what others have written; whether there was anything new."""
        new = {path for path in self._storage.files(PLACE) if path.endswith(".parquet")} - self._files
        if new:
            read = [pq.read_table(pa.BufferReader(self._storage.read(path))) for path in sorted(new)]
            self._table = pa.concat_tables([self._table, *map(_current, read)])
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
        """[N] True for the rows that were taken down and must not be added. The newest tombstones count."""
        self.refresh()
        return self._keys.mask(rows)

    def record(self, stones: Iterable[Mapping[str, Any]], reason: str) -> int:
        """Keep tombstones (dicts of SCHEMA's columns), those that say something new; returns how many."""
        self.refresh()
        there = {_identity(row) for row in self._table.to_pylist()}
        new = {_identity(stone): stone for stone in stones if _identity(stone) not in there}
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


def _current(table: pa.Table) -> pa.Table:
    """A file of tombstones, as it is or as an earlier version wrote it, in SCHEMA."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


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
