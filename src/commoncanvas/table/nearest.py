"""Rows whose vectors are nearest to given vectors: all rows of a small table are compared; in a large one, Lance's
vector index finds candidates, which are then compared exactly.

Shapes: Q given vectors, N rows, D features, K neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from lance.commit import CommitConflictError
from numpy.typing import NDArray

from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted
from commoncanvas.table.append import CONFLICT_RETRIES
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.rows import RowIds, among, take_rows
from commoncanvas.table.snapshot import Snapshot

Vectors = NDArray[np.float32]
Projection = Callable[[Vectors], Vectors]
"""Stored vectors [N, D] -> vectors [N, E] whose dot products are the similarities."""

INDEXED_FROM = 200_000
"""Rows from which the index is used. To compare fewer, one by one, takes a second or two."""
AT_ONCE = 8192
"""Rows that are read together."""
CANDIDATES = 64
"""Candidates of the index for each wanted neighbour."""
VALUES_A_CODE = 16
"""Values that one byte of the index stands for."""
PROBED = 0.1
"""Share of the index's lists that are searched, at least LEAST_PROBED."""
LEAST_PROBED = 16
STALE = 0.1
"""Share of fragments that the index doesn't know yet, above which it is brought up to date. Lance always compares their
rows too, one by one.
"""


class Chunk(NamedTuple):
    """Some rows, [N] stable ids, and their projected vectors [N, E]."""

    row_ids: RowIds
    vectors: Vectors


class Neighbours(NamedTuple):
    """For each given vector the nearest rows, nearest first. K is smaller than asked for if there are fewer rows."""

    row_ids: RowIds
    """[Q, K]"""
    similarities: Vectors
    """[Q, K]"""


def nearest(
    catalog: Snapshot,
    column: str,
    queries_QD: Vectors,
    count: int,
    project: Projection,
    rows: RowIds,
    *,
    indexed_from: int = INDEXED_FROM,
    kept: Sequence[Chunk] | None = None,
) -> Neighbours:
    """The `count` rows among `rows` (stable ids) with the largest dot product of the projected vectors.

    Rows without a vector are left out. `catalog` is at its newest version, because the index is. With `indexed_from` or
    more `rows` an index is made, or brought up to date; it may miss a neighbour, all others are exact. `kept`: what
    `projected_rows` gave for these rows, so that a table without an index is not read again. Raises CatalogError.
    """
    catalog.check_columns([column])
    rows = np.unique(rows)
    projected = project(np.asarray(queries_QD, np.float32))
    if len(rows) < indexed_from:
        chunks = projected_rows(catalog, column, project, rows) if kept is None else kept
        return _all_compared(chunks, projected, count)
    update_index(catalog, column)
    found = [
        _by_index(catalog, column, query, aim, count, project, rows)
        for query, aim in zip(np.asarray(queries_QD, np.float32), projected, strict=True)
    ]
    least = min((len(each.row_ids) for each in found), default=0)
    return Neighbours(
        np.array([each.row_ids[:least] for each in found], np.uint64).reshape(len(found), least),
        np.array([each.similarities[:least] for each in found], np.float32).reshape(len(found), least),
    )


def projected_rows(catalog: Snapshot, column: str, project: Projection, rows: RowIds) -> Iterator[Chunk]:
    """The rows that have a vector, AT_ONCE at a time."""
    for start in range(0, len(rows), AT_ONCE):
        table = take_rows(catalog.dataset, rows[start : start + AT_ONCE], ["_rowid", column])
        table = table.filter(table[column].is_valid())
        yield Chunk(table["_rowid"].to_numpy(), project(vectors_of(table[column])))


def _all_compared(chunks: Iterable[Chunk], projected_QE: Vectors, count: int) -> Neighbours:
    ids = np.empty((len(projected_QE), 0), np.uint64)
    best = np.empty((len(projected_QE), 0), np.float32)
    for chunk in chunks:
        scores = projected_QE @ chunk.vectors.T
        best = np.concatenate([best, scores], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(chunk.row_ids, scores.shape)], axis=1)
        order = np.lexsort((ids, -best), axis=1)[:, :count]  # equal similarities: the smaller id first
        best, ids = np.take_along_axis(best, order, 1), np.take_along_axis(ids, order, 1)
    return Neighbours(ids, best)


def _by_index(
    catalog: Snapshot,
    column: str,
    query_D: Vectors,
    aim_E: Vectors,
    count: int,
    project: Projection,
    rows: RowIds,
) -> Neighbours:
    """The neighbours of one vector: [K] ids and similarities. More candidates are asked for until enough are in
    `rows`, or there are no more.
    """
    lists = _lists(catalog.count(f"{column} IS NOT NULL"))
    wanted, probes = count * CANDIDATES, min(lists, max(LEAST_PROBED, round(PROBED * lists)))
    while True:
        options = {"column": column, "q": query_D, "k": wanted, "metric": "cosine", "nprobes": probes}
        with explaining(f"catalog {catalog.uri}: column {column} can't be searched"):
            scanner = catalog.dataset.scanner(columns=["_distance"], nearest=options, with_row_id=True)
            ids = scanner.to_table()["_rowid"].to_numpy()
        kept = ids[among(ids, rows)]
        if len(kept) >= min(count, len(rows)) or (len(ids) < wanted and probes == lists):
            break
        wanted, probes = wanted * 8, lists
    vectors = vectors_of(catalog.take(kept, [column])[column])
    scores = project(vectors) @ aim_E if len(kept) else np.empty(0, np.float32)
    order = np.lexsort((kept, -scores))[:count]
    return Neighbours(kept[order], scores[order])


def update_index(catalog: Snapshot, column: str) -> None:
    """Make the column's index (IVF-PQ), or add the rows that it doesn't know if they are many. Raises CatalogError."""
    catalog.must_be_newest("indexed")
    name = f"{column}_nearest"
    for _ in range(CONFLICT_RETRIES):
        catalog.refresh()
        index = next((each for each in catalog.dataset.list_indices() if each["name"] == name), None)
        fragments = {fragment.fragment_id for fragment in catalog.dataset.get_fragments()}
        if index and len(fragments - set(index["fragment_ids"])) <= STALE * len(fragments):
            return
        try:
            with explaining(f"catalog {catalog.uri}: column {column} can't be indexed"):
                if index:
                    catalog.dataset.optimize.optimize_indices(index_names=[name])
                else:
                    _create_index(catalog, column, name)
        except CommitConflictError:
            continue  # another process changed the table meanwhile
        catalog.refresh()
        return
    raise CatalogError(f"catalog {catalog.uri}: other processes keep changing it; wait until they end")


def _create_index(catalog: Snapshot, column: str, name: str) -> None:
    count = catalog.count(f"{column} IS NOT NULL")
    width = catalog.schema.field(column).type.list_size
    say(f"{column}: indexing {counted(count, 'rows')}, once")
    catalog.dataset.create_index(
        column,
        "IVF_PQ",
        name=name,
        metric="cosine",
        num_partitions=_lists(count),
        num_sub_vectors=next(width // each for each in range(VALUES_A_CODE, 0, -1) if width % each == 0),
    )


def _lists(rows: int) -> int:
    """Lists of the index: the usual square root of the number of rows."""
    return max(1, round(math.sqrt(rows)))


def vectors_of(column: pa.Array | pa.ChunkedArray) -> Vectors:
    """A column of vectors without nulls -> [N, D] float32."""
    whole: Any = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = whole.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).reshape(-1, whole.type.list_size)
