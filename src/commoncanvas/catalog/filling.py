"""Rows that wait for their image get it where a later source brings it along, so that nothing is fetched twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.catalog.known import KnownIds
from commoncanvas.catalog.schema import IMAGE
from commoncanvas.catalog.where import listed

if TYPE_CHECKING:
    from commoncanvas.catalog.table import Catalog

LACKING = "(fetch_status IS NULL OR fetch_status <> 'ok')"
FILLED_AT_ONCE = 10_000
SCAN_ROWS = 1 << 17
_IMAGE = [column.name for column in IMAGE]


def brings_images(table: pa.Table) -> bool:
    return "image" in table.column_names and table["image"].null_count < len(table)


class Filler:
    """Knows which rows had no image when it was made, 12 bytes each."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.lacking = KnownIds()
        for batch in catalog.scan(["image_id"], LACKING, SCAN_ROWS):
            self.lacking.add(batch["image_id"].to_pylist())

    def fill(self, table: pa.Table) -> int:
        """Put the images of `table` into the rows with the same ids that still have none; returns how many it did."""
        table = table.filter(pc.is_valid(table["image"]))
        table = table.filter(pa.array(self.lacking.contains(table["image_id"].to_pylist()), pa.bool_()))
        filled = 0
        for start in range(0, len(table), FILLED_AT_ONCE):
            part = table.slice(start, FILLED_AT_ONCE)
            where = f"image_id IN ({listed(part['image_id'].to_pylist())})"
            filled += self.catalog.backfill(_Fill(part), where=where)
        return filled


class _Fill:
    """The image as `table` has it, and its other values where the row has none; what the row knows already stays."""

    name = "fill"
    done_column = "fetch_status"
    batch_size = 64
    todo = LACKING

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.writes = tuple(field for field in table.schema if field.name not in ("image_id", "source"))
        self.reads = ("image_id", *(field.name for field in self.writes if field.name not in _IMAGE))
        self._at: dict[str, int] = {}

    def setup(self) -> None:
        ids = self.table["image_id"].to_pylist()
        self._at = {image_id: at for at, image_id in reversed(list(enumerate(ids)))}

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        new = self.table.take([self._at[image_id] for image_id in batch["image_id"].to_pylist()])
        columns = [
            new[field.name]
            if field.name in _IMAGE
            else pc.coalesce(batch[field.name], new[field.name].combine_chunks())
            for field in self.writes
        ]
        table = pa.table(columns, schema=pa.schema(self.writes))
        return table.combine_chunks().to_batches()[0]
