"""Which text an image has: that of the first of some columns that is set. In Arrow and in SQL, which agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TEXT = ("label", "caption")
"""Columns that an image's text comes from, if nobody says otherwise."""


def first_set(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray:
    """Of each row the first non-null of those `columns` that there are."""
    nothing = pa.chunked_array([pa.nulls(len(table), pa.string())])
    return pc.coalesce(nothing, *(table[name] for name in columns if name in table.column_names))


def first_set_name(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray:
    """Of each row the name of the column that `first_set` takes."""
    names = {
        name: pc.if_else(pc.is_valid(table[name]), name, pa.scalar(None, pa.string()))
        for name in columns
        if name in table.column_names
    }
    return first_set(pa.table({**names, "": pa.nulls(len(table), pa.string())}), columns)


def first_set_sql(columns: Sequence[str]) -> str:
    """SQL of the same."""
    return columns[0] if len(columns) == 1 else f"coalesce({', '.join(columns)})"


def first_text(row: Mapping[str, Any], columns: Sequence[str] = TEXT) -> str | None:
    """Of a row as people see it the first that isn't blank."""
    return next((text for name in columns if (text := row.get(name)) and text.strip()), None)
