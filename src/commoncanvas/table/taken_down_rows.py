"""Rows in an older version of the catalog that were taken down later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import COLUMNS, Keys, Tombstones

SCAN_ROWS = 65536


def taken_down(catalogs: Iterable[Catalog]) -> Keys:
    """Keys of everything taken down from `catalogs` until now, whatever their versions."""
    keys = Keys()
    for catalog in catalogs:
        stones = Tombstones(catalog.uri, catalog.storage_options)
        stones.refresh()
        keys |= stones.keys
    return keys


def rows_of(catalog: Catalog, keys: Keys, where: str | None = None) -> pa.Table:
    """`image_id` and `_rowid` of the rows that meet `where` and match `keys`, in the catalog's version."""
    found = [pa.table({"image_id": pa.array([], pa.string()), "_rowid": pa.array([], pa.uint64())})]
    if keys == Keys():
        return found[0]
    columns = [name for name in COLUMNS if name in catalog.schema.names]
    for batch in catalog.scan(columns, where, SCAN_ROWS, with_row_id=True):
        rows = pa.Table.from_batches([batch])
        found.append(
            rows.filter(pa.array(keys.mask(rows))).select(found[0].column_names).cast(found[0].schema)
        )
    return pa.concat_tables(found)


def without(row_ids: Sequence[int]) -> list[str]:
    """SQL conditions that exclude these rows; an empty list if there are none."""
    return [f"_rowid NOT IN ({', '.join(map(str, row_ids))})"] if row_ids else []
