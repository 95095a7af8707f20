"""The text of an image: from the first of several columns that is set. In Arrow and in SQL, with the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TEXT = ("label", "caption")
"""Default columns for an image's text."""


def first_set(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray:
    """The first non-null value of `columns` in each row. Missing columns are ignored."""
    nothing = pa.chunked_array([pa.nulls(len(table), pa.string())])
    return pc.coalesce(nothing, *(table[name] for name in columns if name in table.column_names))


def first_set_name(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray:
    """The name of the column that `first_set` uses for each row."""
    names = {
        name: pc.if_else(pc.is_valid(table[name]), name, pa.scalar(None, pa.string()))
        for name in columns
        if name in table.column_names
    }
    return first_set(pa.table({**names, "": pa.nulls(len(table), pa.string())}), columns)


def first_set_sql(columns: Sequence[str]) -> str:
    """`first_set` as SQL."""
    return columns[0] if len(columns) == 1 else f"coalesce({', '.join(columns)})"


def first_text(row: Mapping[str, Any], columns: Sequence[str] = TEXT) -> str | None:
    """The first text of a row that isn't blank, for people to read."""
    return next((text for name in columns if (text := row.get(name)) and text.strip()), None)
