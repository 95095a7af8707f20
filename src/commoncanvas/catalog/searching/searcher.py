"""Searches of one catalog that people page through, while others change it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.catalog.searching.alike import Hashes
from commoncanvas.catalog.searching.query import Query
from commoncanvas.catalog.searching.values import Values, count_values
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.kept import Kept
from commoncanvas.core.text import encodes
from commoncanvas.table.lance_errors import reason
from commoncanvas.table.newest import Newest
from commoncanvas.table.rows import RowIds, take_rows
from commoncanvas.table.snapshot import Snapshot
from commoncanvas.table.sql import quoted
from commoncanvas.table.word_search import matching_words, row_ids

T = TypeVar("T")

Order = Literal["relevance", "likeness", "catalog"]
KEPT_BYTES = 64 * 2**20
"""Of row ids that searches found. The last search is always kept."""
KEPT_ROWS = 100_000
"""Image ids whose row id is kept."""


@dataclass(frozen=True)
class Hits:
    """All rows that a search found in one version, in their order."""

    version: int
    row_ids: RowIds
    order: Order


@dataclass(frozen=True)
class Page:
    """Rows `start`, `start` + 1, ... of `total`. A row that was taken down since the search began is None.

    `version`: of the catalog when the search began. Who asks for further rows with it gets no row twice, and none is
    left out, whatever happens to the catalog.
    """

    version: int
    total: int
    start: int
    order: Order
    rows: tuple[Credit | None, ...]


class Searcher:
    """Thread-safe. Row ids of the last searches stay in memory, so that a further page costs only its own rows."""

    def __init__(self, newest: Newest) -> None:
        self._newest = newest
        self._hits: Kept[tuple[int, Query], Hits] = Kept(KEPT_BYTES, lambda hits: hits.row_ids.nbytes)
        self._known: Kept[str, int] = Kept(KEPT_ROWS)
        self._hashes = Hashes()
        self._values: Values | None = None
        self._counting = threading.Lock()

    def page(self, query: Query, start: int, limit: int, version: int | None = None) -> Page:
        """Rows from position `start` on, at most `limit`. `version`: of an earlier page of the same search.

        Raises CatalogError.
        """
        hits = self._found(query, version)
        ids = hits.row_ids[start : start + limit]
        rows = _gone_again(lambda: _rows(self._newest(), ids, ("_rowid", *COLUMNS)))
        shown = {row["_rowid"]: credit(row) for row in rows}
        for row_id, one in shown.items():
            self._known.put(one.image_id, row_id)
        found = tuple(shown.get(row_id) for row_id in ids.tolist())
        return Page(hits.version, len(hits.row_ids), start, hits.order, found)

    def values(self) -> Values:
        """The values of a version that is, or was shortly before, the newest."""
        if not self._counted():
            # Who comes while somebody counts gets the values of before.
            free = self._counting.acquire(blocking=self._values is None)
            try:
                if free and not self._counted():
                    self._values = _gone_again(lambda: count_values(self._newest()))
            finally:
                if free:
                    self._counting.release()
        assert self._values is not None
        return self._values

    def _counted(self) -> bool:
        return self._values is not None and self._values.version == self._newest().version

    def row(self, image_id: str, columns: tuple[str, ...]) -> Mapping[str, Any] | None:
        """Columns of one row; None if there is no such row, or no longer. Quick for rows of the last pages."""
        if not encodes(image_id):
            return None
        return _gone_again(lambda: self._row(self._newest(), image_id, columns))

    def _row(self, newest: Snapshot, image_id: str, columns: tuple[str, ...]) -> Mapping[str, Any] | None:
        row_id = self._known.get(image_id)
        if row_id is not None:
            rows = _rows(newest, np.array([row_id], np.uint64), columns)
        else:
            rows = newest.table(columns, f"image_id = {quoted(image_id)}", limit=1).to_pylist()
        return next(iter(rows), None)

    def _found(self, query: Query, version: int | None) -> Hits:
        kept = self._hits.get((version or self._newest().version, query))
        if kept is not None:
            return kept
        snapshot = self._newest.at(version)
        try:
            hits = self._search(snapshot, query)
        except (OSError, ValueError) as error:
            if "not found" not in str(error).lower():
                raise CatalogError(f"catalog {snapshot.uri} can't be searched: {reason(error)}") from error
            self._newest.forget(snapshot.version)  # a purge deleted its files
            hits = _gone_again(lambda: self._search(self._newest(), query))
        self._hits.put((hits.version, query), hits)
        return hits

    def _search(self, snapshot: Snapshot, query: Query) -> Hits:
        where = query.where(snapshot.schema)
        order: Order
        if query.alike is not None:
            narrowed = query.words or where is not None
            only = np.sort(matching_words(snapshot, query.words, where).row_ids) if narrowed else None
            found, order = self._hashes.near(snapshot, query.alike, only), "likeness"
        elif query.words:
            found, by_relevance = matching_words(snapshot, query.words, where)
            order = "relevance" if by_relevance else "catalog"
        else:
            # A text of nothing but signs has no word that a row could have.
            found, order = row_ids(snapshot, "false" if query.text else where), "catalog"
        return Hits(snapshot.version, found, order)


def _rows(snapshot: Snapshot, ids: RowIds, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Those of the rows that are still there."""
    if not len(ids):
        return []
    found: list[dict[str, Any]] = take_rows(snapshot.dataset, ids, columns).to_pylist()
    return found


def _gone_again(work: Callable[[], T]) -> T:
    """The result of `work`, which reads the newest version. It is repeated if a purge deletes that meanwhile."""
    for left in (2, 1, 0):
        try:
            return work()
        except (OSError, ValueError) as error:
            if "not found" not in str(error).lower() or not left:
                raise CatalogError(f"the catalog can't be read: {reason(error)}") from error
    raise AssertionError
