"""Make room for a column that another model, or other settings, made before."""

from __future__ import annotations

from collections.abc import Sequence

from commoncanvas.core.errors import CatalogError
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.table import Catalog


def drop_if_other(
    catalog: Catalog,
    name: str,
    info: ColumnInfo,
    related: Sequence[str],
    *,
    overwrite: bool,
    remedy: str,
    needs: Sequence[str] = (),
) -> list[str]:
    """Drop column `name` and its `related` ones unless it was made as `info` says; returns the dropped columns.

    `needs`: columns without which it counts as made otherwise. Raises CatalogError with the `remedy` for a column that
    was made otherwise, unless `overwrite`.
    """
    names = catalog.schema.names
    if name not in names:
        return []
    made = ColumnInfo.of(catalog.schema.field(name))
    if made and made.identity == info.identity and set(needs) <= set(names):
        return []
    if not overwrite:
        before = made.made_by if made else "something else"
        raise CatalogError(
            f"column {name} of {catalog.uri} was made by {before}, not by {info.made_by}; {remedy}"
        )
    return catalog.drop_columns([each for each in dict.fromkeys([name, *related]) if each in names])
