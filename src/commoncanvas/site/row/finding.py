"""Find one image in the newest version of a catalog."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa

from commoncanvas.table.newest import Newest
from commoncanvas.table.rows import take_rows
from commoncanvas.table.sql import quoted
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones


class Rows:
    """Rows of one catalog by id, always of the newest version: what was taken down is gone at once."""

    def __init__(self, catalog: Catalog) -> None:
        self.uri = catalog.uri
        self._newest = Newest(catalog, every_s=0.0)
        self._stones = Tombstones(catalog.uri, catalog.storage_options)
        self._reading = threading.Lock()

    def row(self, image_id: str) -> dict[str, Any] | None:
        """The columns of a row that people can read; None if there is no such row. Raises CatalogError."""
        newest = self._newest()
        # In two steps: the filter reads one column, and the others only of the row that it finds.
        found = newest.table(["image_id"], f"image_id = {quoted(image_id)}", with_row_id=True, limit=1)
        columns = [field.name for field in newest.schema if _readable(field.type)]
        rows = (
            take_rows(newest.dataset, found["_rowid"].to_numpy(), columns).to_pylist() if len(found) else []
        )
        return next(iter(rows), None)

    def taken_down(self, image_id: str) -> bool:
        """Whether the row with this id was taken down."""
        with self._reading:
            self._stones.refresh()
            return image_id in self._stones.keys.image_ids


def _readable(kind: pa.DataType) -> bool:
    """Texts, numbers, times and lists of texts; no images, embeddings or latents."""
    if pa.types.is_list(kind):
        return bool(pa.types.is_string(kind.value_type))
    return not (pa.types.is_nested(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary(kind))
