"""Rows that are taken down leave the table; their tombstones stay.

First the tombstones are written, then the rows are deleted: killed at any moment, the same call does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commoncanvas.table.append import CONFLICT_RETRIES
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.purge import held, live, steadily
from commoncanvas.table.table import Catalog
from commoncanvas.table.takedown_request import Found, Request, find, tombstones
from commoncanvas.table.tombstones import COLUMNS, Tombstones

DELETE_AT_ONCE = 5000
CAME_BACK = "came back after an earlier takedown"


def rows_to_remove(
    catalog: Catalog, request: Request, stones: Tombstones, near: bool = False
) -> tuple[Found, list[dict[str, Any]]]:
    """The rows that a request, or an earlier one, is about, and the tombstones to keep. Raises CatalogError."""

    def both() -> tuple[Found, list[dict[str, Any]]]:
        found = find(catalog, request, stones, near)
        return found, tombstones(catalog, request, found)

    return steadily(catalog, both)


def remove(catalog: Catalog, stones: Tombstones, kept: Sequence[Mapping[str, Any]], reason: str) -> None:
    """Keep the tombstones `kept`, and delete every row that any tombstone is about. Raises CatalogError."""
    stones.record(kept, reason)
    _delete(catalog, stones)


def remove_again(catalog: Catalog) -> None:
    """Delete what earlier requests were about, should it have come back. Raises CatalogError."""
    catalog.refresh()
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    if len(stones.table):
        _, kept = rows_to_remove(catalog, Request(), stones)
        remove(catalog, stones, kept, CAME_BACK)


def _delete(catalog: Catalog, stones: Tombstones) -> None:
    """Mark every row that has a tombstone as deleted, also those that somebody adds meanwhile."""
    for _ in range(CONFLICT_RETRIES):
        found = steadily(catalog, lambda: held(catalog.dataset, stones.keys, COLUMNS))
        rows = live(found)["_rowid"].to_pylist()
        if not rows:
            return
        for start in range(0, len(rows), DELETE_AT_ONCE):
            chosen = ", ".join(map(str, rows[start : start + DELETE_AT_ONCE]))
            with explaining(f"catalog {catalog.uri}: rows can't be deleted"):
                # By row id: the condition stands in Lance's transaction file.
                catalog.dataset.delete(f"_rowid IN ({chosen})", conflict_retries=CONFLICT_RETRIES)
