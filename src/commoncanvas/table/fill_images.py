"""Fill rows without an image from a later source that has the image, so that it need not be fetched.

One commit deletes the old row and appends the filled one, so the cost depends on the number of filled rows.
`Catalog.backfill` would rewrite all images of a fragment, for every group of rows, because a source's order is seldom
the table's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.commit import CommitConflictError

from commoncanvas.core.errors import CatalogError
from commoncanvas.table.columns import derived
from commoncanvas.table.known_ids import KnownRows
from commoncanvas.table.rows import RowIds, take_rows
from commoncanvas.table.schema import IMAGE
from commoncanvas.table.snapshot import Snapshot
from commoncanvas.table.storage import Storage

LACKING = "(fetch_status IS NULL OR fetch_status <> 'ok')"
SCAN_ROWS = 1 << 17
WRITTEN_AT_ONCE = 256
CONFLICT_RETRIES = 50
_IMAGE = [column.name for column in IMAGE]
_PLACE = ["_rowid", "_rowaddr"]


def brings_images(table: pa.Table) -> bool:
    return "image" in table.column_names and table["image"].null_count < len(table)


class Appending(Protocol):
    """Appends rows to a catalog. Some of them are already in the catalog, without an image."""

    catalog: Snapshot

    def write(self, rows: pa.Table | pa.RecordBatchReader) -> list[Any]:
        """Fragments of `rows`. They are not in the table before a commit."""

    def own(self, fragments: Iterable[Any], written: Iterable[Any]) -> list[Any]:
        """Those of a table's `fragments` that are in `written`. They are marked as read."""


class Filler:
    """Knows the rows that had no image when it was created, in 12 bytes each."""

    def __init__(self, adder: Appending) -> None:
        self.adder = adder
        self.catalog = adder.catalog
        scan = self.catalog.scan(["image_id"], LACKING, SCAN_ROWS, with_row_id=True)
        self.lacking = KnownRows(
            (batch["image_id"].to_pylist(), batch["_rowid"].to_numpy()) for batch in scan
        )

    def fill(self, table: pa.Table) -> int:
        """Put the images of `table` into rows with the same ids that still have none; returns the number of rows.

        It fills all rows in one commit, or none. Raises CatalogError if other processes keep changing these rows.
        """
        row_ids = self.lacking.candidates(table["image_id"].to_pylist())
        if not len(row_ids):
            return 0
        ids = table["image_id"].to_pylist()
        has_image = table["image"].is_valid().to_pylist()
        images = {ids[at]: at for at in range(len(ids) - 1, -1, -1) if has_image[at]}
        old: pa.Table | None = None
        written: list[Any] = []
        for _ in range(CONFLICT_RETRIES):
            self.catalog.refresh()
            now = self._waiting(row_ids, images, table)
            places, now = now.select(_PLACE), now.drop_columns(_PLACE)
            # If other processes changed the fragments but not these rows, the written files are still valid.
            if not now.equals(old):
                self._discard(written)
                old, written = now, self._write(now, images, table) if len(now) else []
            if not len(now):
                return 0
            if self._land(places, written):
                return len(now)
        self._discard(written)
        raise CatalogError(
            f"catalog {self.catalog.uri}: other processes keep changing the rows without images; "
            "stop them and run the import again"
        )

    def _waiting(self, row_ids: RowIds, images: dict[str, int], table: pa.Table) -> pa.Table:
        """The rows to fill, without the columns that get new values."""
        dataset = self.catalog.dataset
        got = {name for name in _IMAGE if name in table.column_names and name != "fetch_status"}
        columns = [name for name in dataset.schema.names if name not in got]
        rows = take_rows(dataset, row_ids, [*columns, *_PLACE])
        mine = pa.array([image_id in images for image_id in rows["image_id"].to_pylist()], pa.bool_())
        return rows.filter(pc.and_(mine, pc.fill_null(pc.not_equal(rows["fetch_status"], "ok"), True)))

    def _write(self, old: pa.Table, images: dict[str, int], table: pa.Table) -> list[Any]:
        schema = self.catalog.schema

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, len(old), WRITTEN_AT_ONCE):
                part = old.slice(start, WRITTEN_AT_ONCE)
                new = table.take([images[image_id] for image_id in part["image_id"].to_pylist()])
                yield from _filled(part, new, schema).combine_chunks().to_batches()

        return self.adder.write(pa.RecordBatchReader.from_batches(schema, batches()))

    def _land(self, places: pa.Table, written: list[Any]) -> bool:
        """Replace the rows at `places` by `written`; False if another process changed their fragments meanwhile."""
        dataset = self.catalog.dataset
        fragments = places["_rowaddr"].to_numpy() >> np.uint64(32)
        order = np.argsort(fragments, kind="stable")
        touched, starts = np.unique(fragments[order], return_index=True)
        changed: list[Any] = []
        emptied: list[int] = []
        for fragment_id, rows in zip(
            touched.tolist(), np.split(places["_rowid"].to_numpy()[order], starts[1:]), strict=True
        ):
            chosen = ", ".join(map(str, rows.tolist()))
            left = dataset.get_fragment(fragment_id).delete(f"_rowid IN ({chosen})")
            if left is None:
                emptied.append(fragment_id)
            else:
                changed.append(left)
        operation = lance.LanceOperation.Update(
            removed_fragment_ids=emptied, updated_fragments=changed, new_fragments=written
        )
        try:
            after = lance.LanceDataset.commit(
                self.catalog.uri,
                operation,
                read_version=dataset.version,
                storage_options=self.catalog.storage_options,
            )
        except CommitConflictError:
            return False
        self.catalog.dataset = after
        self.adder.own(after.get_fragments(), written)
        return True

    def _discard(self, written: list[Any]) -> None:
        storage = Storage(self.catalog.uri, self.catalog.storage_options)
        for file in (file for fragment in written for file in fragment.files):
            storage.delete(f"data/{file.path}")


def _filled(old: pa.Table, new: pa.Table, schema: pa.Schema) -> pa.Table:
    """`old` with the image columns of `new`, and with other values of `new` where `old` has null. Columns made from
    these become null, so that stages compute them again.
    """
    given = [name for name in new.column_names if name not in ("image_id", "source")]
    outdated = derived(schema, given)
    columns = []
    for field in schema:
        if field.name in outdated:
            columns.append(pa.nulls(len(old), field.type))
        elif field.name not in given:
            columns.append(old[field.name])
        elif field.name in _IMAGE:
            columns.append(new[field.name])
        else:
            columns.append(pc.coalesce(old[field.name].combine_chunks(), new[field.name].combine_chunks()))
    return pa.table(columns, schema=schema)
