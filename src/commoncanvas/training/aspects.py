"""Aspect ratios of rows whose latents were encoded in buckets, from the column of their crops."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.encoding.crops import Crop
from commoncanvas.selection.rows import Selection, TrainingRows

SCANNED = 65536
"""Rows per read."""


def aspect_ratios(rows: TrainingRows, column: str) -> NDArray[np.int64]:
    """The number [N] of each row's size in `rows.table`; sizes are ordered by height, then width."""
    sizes_N = np.empty(len(rows.table), np.int64)
    for number, selection in enumerate(rows.selections):
        mine_N = rows.of_catalog(number)
        sizes_N[mine_N] = _sizes_of(selection, column, rows.table["row_id"].to_numpy()[mine_N])
    kinds_N: NDArray[np.int64] = np.unique(sizes_N, return_inverse=True)[1]
    return kinds_N


def _sizes_of(selection: Selection, column: str, row_ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Height (upper 32 bits) and width (lower 32 bits) of rows of one catalog, [N]."""
    ids, found = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for batch in selection.catalog.scan([column], selection.filter, SCANNED, with_row_id=True):
        ids.append(batch["_rowid"].to_numpy())
        height_B, width_B = sizes(pa.chunked_array([batch[column]])).astype(np.int64).T
        found.append(height_B << 32 | width_B)
    ids_N = np.concatenate(ids)
    order_N = np.argsort(ids_N)
    places_N = order_N[np.searchsorted(ids_N, row_ids, sorter=order_N)]
    sizes_N: NDArray[np.int64] = np.concatenate(found)[places_N]
    return sizes_N


def crops(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """[N, 6]: each row's `Crop`."""
    numbers: NDArray[np.int32] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), len(Crop._fields))


def sizes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """[N, 2]: height and width of each crop, in pixels."""
    return crops(column)[:, -2:]
