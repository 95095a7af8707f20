"""Count values and draw a random sample while a table streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

COUNT = "rows"
MERGE_ROWS = 1 << 20
"""Counts of batches are merged when they exceed this number and the number of known values."""


class Tally:
    """Exact number of rows for each combination of values in `columns`; null counts as a value.

    Memory grows with the number of combinations, not of rows: about four times the size of the combinations.
    """

    def __init__(self, *columns: str) -> None:
        self.columns = list(columns)
        self._parts: list[pa.Table] = []
        self._known = self._waiting = 0

    def add(self, rows: pa.Table) -> None:
        """Count rows of a table that has at least these columns."""
        part = (
            rows.select(self.columns).group_by(self.columns, use_threads=False).aggregate([([], "count_all")])
        )
        self._parts.append(part.rename_columns([*self.columns, COUNT]))
        self._waiting += len(part)
        if self._waiting > max(MERGE_ROWS, self._known):
            self._merge()

    def table(self) -> pa.Table:
        """The combinations, with their number in the column `rows` (int64), unsorted. Needs at least one `add`."""
        if len(self._parts) > 1:
            self._merge()
        return self._parts[0]

    def _merge(self) -> None:
        whole = (
            pa.concat_tables(self._parts)
            .group_by(self.columns, use_threads=False)
            .aggregate([(COUNT, "sum")])
        )
        self._parts = [whole.rename_columns([*self.columns, COUNT])]
        self._known, self._waiting = len(whole), 0


class Sample:
    """A uniform random sample of `size` rows from a stream. The same seed and rows give the same sample."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._random = np.random.default_rng(seed)
        self._row_ids = np.empty(0, np.uint64)
        self._ranks = np.empty(0)

    @property
    def row_ids(self) -> NDArray[np.uint64]:
        """[size or fewer] row ids in random order."""
        return self._row_ids

    def add(self, row_ids: NDArray[np.uint64]) -> None:
        """Add rows to draw from."""
        ids = np.concatenate([self._row_ids, row_ids])
        ranks = np.concatenate([self._ranks, self._random.random(len(row_ids))])
        first = np.argsort(ranks)[: self.size]
        self._row_ids, self._ranks = ids[first], ranks[first]


def median(values: NDArray[np.int64], counts: NDArray[np.int64]) -> int | None:
    """The lower median of `values`, where each occurs `counts` times; None if there are no values."""
    if not len(values):
        return None
    order = np.argsort(values)
    reached = np.cumsum(counts[order])
    return int(values[order][np.searchsorted(reached, (reached[-1] + 1) // 2)])


def histogram(values: NDArray[np.int64], counts: NDArray[np.int64], edges: Sequence[int]) -> dict[int, int]:
    """Lower edge -> number of values up to the next edge. The last bin is open. No value is below the first edge."""
    places = np.searchsorted(edges, values, side="right") - 1
    sums = np.bincount(places, counts, len(edges)) if len(values) else np.zeros(len(edges))
    return {edge: int(total) for edge, total in zip(edges, sums, strict=True)}
