"""Read rows of the table by their stable ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

RowIds = NDArray[np.uint64]


def take_rows(dataset: Any, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
    """Rows by stable row id, in the given order. Ids that are not in the table are ignored.

    This is the only use of Lance's unstable `_take_rows`. The public `take` uses positions, which change with every
    delete. `_take_rows` is twice as fast for sorted ids, so ids are sorted first and the rows put in order after.
    """
    ids, places = np.unique(np.asarray(row_ids, np.uint64), return_inverse=True)
    found = dataset._take_rows(pa.array(ids), columns=list(columns))
    if len(found) < len(ids):
        return dataset._take_rows(pa.array(row_ids, pa.uint64()), columns=list(columns))
    return found if np.array_equal(places, np.arange(len(ids))) else found.take(places)


def among(row_ids: RowIds, ordered: RowIds) -> NDArray[np.bool_]:
    """[N] Whether each id is in `ordered`, which is sorted."""
    if not len(ordered):
        return np.zeros(len(row_ids), np.bool_)
    places = np.minimum(np.searchsorted(ordered, row_ids), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == row_ids
    return found
