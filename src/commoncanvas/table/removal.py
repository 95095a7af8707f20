"""Remove rows that are taken down from the table, and write their tombstones.

Tombstones are written before rows are deleted. If a call is killed, the same call again completes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from commoncanvas.table.append import CONFLICT_RETRIES
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.purge import matching_rows, not_deleted, retry_if_purged
from commoncanvas.table.sql import listed
from commoncanvas.table.table import Catalog
from commoncanvas.table.takedown_request import Found, Request, find, tombstones
from commoncanvas.table.tombstones import COLUMNS, Tombstones

DELETE_AT_ONCE = 5000
CAME_BACK = "came back after an earlier takedown"


def rows_to_remove(
    catalog: Catalog, request: Request, stones: Tombstones, near: bool = False
) -> tuple[Found, list[dict[str, Any]]]:
    """The rows that this or an earlier request matches, and the tombstones to write. Raises CatalogError."""

    def both() -> tuple[Found, list[dict[str, Any]]]:
        found = find(catalog, request, stones, near)
        return found, tombstones(catalog, request, found)

    return retry_if_purged(catalog, both)


def remove(catalog: Catalog, stones: Tombstones, kept: Sequence[Mapping[str, Any]], reason: str) -> None:
    """Write the tombstones `kept`, and delete every row that matches any tombstone. Raises CatalogError."""
    stones.record(kept, reason)
    _delete(catalog, stones)


def remove_reuploads(catalog: Catalog) -> None:
    """Delete rows whose file was taken down under any id. Raises CatalogError.

    Only digests are compared first: rows that match a tombstone otherwise are never added, and the complete search
    takes seconds for a million rows.
    """
    catalog.refresh()
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    digests = pc.unique(stones.table["sha256"]).drop_null().to_pylist()
    parts = (digests[start : start + DELETE_AT_ONCE] for start in range(0, len(digests), DELETE_AT_ONCE))
    if any(catalog.count(f"sha256 IN ({listed(part)})") for part in parts):
        _, kept = rows_to_remove(catalog, Request(), stones)
        remove(catalog, stones, kept, CAME_BACK)


def _delete(catalog: Catalog, stones: Tombstones) -> None:
    """Mark every row that has a tombstone as deleted, even if another process adds such rows meanwhile."""
    for _ in range(CONFLICT_RETRIES):
        found = retry_if_purged(catalog, lambda: matching_rows(catalog.dataset, stones.keys, COLUMNS))
        rows = not_deleted(found)["_rowid"].to_pylist()
        if not rows:
            return
        for start in range(0, len(rows), DELETE_AT_ONCE):
            chosen = ", ".join(map(str, rows[start : start + DELETE_AT_ONCE]))
            with explaining(f"catalog {catalog.uri}: rows can't be deleted"):
                # Select by row id: Lance's transaction file stores the condition, and must not name the image.
                catalog.dataset.delete(f"_rowid IN ({chosen})", conflict_retries=CONFLICT_RETRIES)
