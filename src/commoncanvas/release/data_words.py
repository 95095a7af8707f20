"""How many rows of a data set have words: a text, a title, tags, a caption by a model."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.catalog.export.papers import Exported
from commoncanvas.table.texts import TEXT

ROWS_AT_ONCE = 65536


def count_words(exported: Exported) -> dict[str, int]:
    """Number of rows with `text` (that of the shards), `title`, `tags` and `caption`; blank is none."""
    names = [
        name for name in dict.fromkeys((*TEXT, "title", "tags")) if name in exported.catalog.schema.names
    ]
    counts = dict.fromkeys(("text", "title", "tags", "caption"), 0)
    for start in range(0, len(exported.ids), ROWS_AT_ONCE):
        rows = exported.catalog.take(exported.ids[start : start + ROWS_AT_ONCE], names)
        has = {name: _has(rows[name]) for name in names}
        has["text"] = np.any([has[name] for name in TEXT if name in has], axis=0)
        for name in counts:
            counts[name] += int(has[name].sum()) if name in has else 0
    return counts


def _has(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """[N] Whether each row has a value that isn't blank."""
    listed = pa.types.is_list(column.type)
    lengths = pc.list_value_length(column) if listed else pc.utf8_length(pc.utf8_trim_whitespace(column))
    found: NDArray[np.bool_] = pc.fill_null(pc.greater(lengths, 0), False).to_numpy()
    return found
