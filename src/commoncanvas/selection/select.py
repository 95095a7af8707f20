"""Select the rows that a recipe trains on, and the rows that it holds out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.config import DataConfig
from commoncanvas.core.errors import TrainingError
from commoncanvas.selection.heldout import fraction_mask, groups_of, heldout_mask
from commoncanvas.selection.rows import Selection, TrainingRows
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.filters import (
    FETCHED,
    conditions_of,
    describe_counts,
    left_after,
    open_rows,
    remedy,
)
from commoncanvas.table.sql import all_of
from commoncanvas.table.taken_down_rows import rows_of, taken_down, without
from commoncanvas.table.texts import first_set, first_set_name


class Pin(NamedTuple):
    """The version or tag of a catalog, instead of the recipe's. `left_out`: ids of rows that are left out because they
    were taken down; None: all rows that are taken down by now.
    """

    version: int | str
    left_out: tuple[int, ...] | None = None


Pins = Mapping[str, Pin]
"""By the catalogs' names in the recipe."""
ABOUT = ("image_id", "license", "creator")


def open_catalogs(data: DataConfig, pins: Pins) -> dict[str, Catalog]:
    """The catalogs of a recipe by name, at `pins`, or else at the recipe's own versions."""
    return {
        name: Catalog.open(each.catalog, pins[name].version)
        if name in pins
        else open_rows(each.catalog, each.version)
        for name, each in data.catalogs.items()
    }


def chosen_rows(data: DataConfig, name: str, catalog: Catalog) -> list[str]:
    """SQL conditions of the rows that a recipe uses of its catalog `name`: they have an image, the filter selects them,
    and the policy allows their licences.
    """
    source = data.catalogs[name]
    return [
        FETCHED,
        *conditions_of(catalog, source.filter, source.version),
        licenses.sql_filter(licenses.Policy(data.policy), data.allow_no_derivatives),
    ]


def select_rows(
    data: DataConfig,
    requires: Sequence[str],
    pins: Pins | None = None,
    conditions: Callable[[Catalog], Sequence[str]] = lambda catalog: (),
    *,
    encode: str = "commoncanvas encode",
) -> TrainingRows:
    """Choose the rows of `data` whose columns `requires` are all set, whose licence the policy allows, and that meet
    `conditions` (SQL). An image in several catalogs belongs to the first. Images that were taken down from any catalog
    are left out, even if a version still has them. `encode`: the command that makes the columns, for messages.

    Raises TrainingError if a catalog lacks a column, if the catalogs' types of a column differ, or if there is nothing
    to train on; the message names the condition that removed the rows.
    """
    texts = list(dict.fromkeys([*data.text_columns, *(data.heldout_text or ())]))
    selections: list[Selection] = []
    tables: list[pa.Table] = []
    catalogs = open_catalogs(data, pins or {})
    keys = taken_down(catalogs.values())
    for name, catalog in catalogs.items():
        check_columns(catalog, requires, encode)
        parts = [
            *chosen_rows(data, name, catalog),
            *(f"{column} IS NOT NULL" for column in requires),
            *conditions(catalog),
        ]
        left_out = pins[name].left_out if pins and name in pins else None
        if left_out is None:
            left_out = tuple(rows_of(catalog, keys, all_of(*parts))["_rowid"].to_pylist())
        parts += without(left_out)
        columns = list(dict.fromkeys([*ABOUT, *(text for text in texts if text in catalog.schema.names)]))
        found = catalog.table(columns, where=all_of(*parts), with_row_id=True)
        if not len(found):
            raise TrainingError(_explain_empty(catalog, parts, encode))
        selections.append(
            Selection(name, catalog, all_of(*parts), data.catalogs[name].share, left_out=left_out)
        )
        tables.append(found)
    _check_types(selections, [*requires, *texts], encode)
    found, numbers = _joined([each.share for each in selections], tables)
    image_ids = found["image_id"].to_pylist()
    ids = image_ids
    if data.heldout_by is not None:
        groups = groups_of(((each.catalog, each.filter) for each in selections), data.heldout_by)
        ids = [groups[image_id] for image_id in image_ids]
    heldout = heldout_mask(ids, data.heldout_fraction)
    table = _described(found, data, heldout, _splits(image_ids, heldout, data))
    selections = [
        replace(each, elsewhere=len(rows) - int((numbers == number).sum()))
        for number, (each, rows) in enumerate(zip(selections, tables, strict=True))
    ]
    _check_trained(table, selections, numbers, data)
    names = pa.array([each.name for each in selections])
    table = table.append_column("catalog", names.take(pa.array(numbers)))
    if data.heldout_by is not None:
        table = table.append_column("group", pa.array(ids, pa.string()))
    mixed = tuple(text for text in data.text_mix or () if text in found.column_names)
    if mixed:
        joined = pc.binary_join_element_wise(
            *(found[text] for text in mixed), "\x1f", null_handling="replace", null_replacement="\x00"
        )
        table = table.append_column("texts", joined)
    return TrainingRows(tuple(selections), table, numbers, mixed)


def taken_down_since(rows: TrainingRows) -> dict[str, pa.Table]:
    """`image_id` and `_rowid` of a run's rows that were taken down after the run began, by the catalogs' names."""
    keys = taken_down(rows.catalogs)
    found = {each.name: rows_of(each.catalog, keys, each.filter) for each in rows.selections}
    return {name: table for name, table in found.items() if len(table)}


def check_columns(catalog: Catalog, requires: Sequence[str], encode: str) -> None:
    """Raise TrainingError if a catalog lacks a column. The message names columns of the same kind that it has.

    `encode`: the command that makes the columns.
    """
    missing = [name for name in requires if name not in catalog.schema.names]
    if missing:
        kinds = tuple({name.partition("_")[0] + "_" for name in missing})
        like = [
            field.name for field in catalog.schema if field.name.startswith(kinds) and ColumnInfo.of(field)
        ]
        newest = Catalog.open(catalog.uri)
        later = not set(missing) - set(newest.schema.names)
        raise TrainingError(
            f"catalog {catalog.uri} (version {catalog.version}) has no column {', '.join(missing)}"
            + (f", but it has {', '.join(like)}" if like else "")
            + (
                f"; the newest version, {newest.version}, has it: leave data.version out, or give a saved filter's tag"
                if later
                else f"; to make it: {encode}"
            )
        )


def _check_types(selections: Sequence[Selection], columns: Sequence[str], encode: str) -> None:
    for name in dict.fromkeys(columns):
        having = [each.catalog for each in selections if name in each.catalog.schema.names]
        for other in having[1:]:
            first, second = (catalog.schema.field(name).type for catalog in (having[0], other))
            if not first.equals(second):
                raise TrainingError(
                    f"column {name} is {second} in catalog {other.uri} and {first} in {having[0].uri}; "
                    f"make it again with one type: {encode} --overwrite"
                )


def _joined(shares: Sequence[float], tables: Sequence[pa.Table]) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows of all catalogs, each image once, in the order of `TrainingRows.table`; and their catalogs' numbers."""
    numbered = [
        found.append_column("number", pa.array(np.full(len(found), number)))
        for number, found in enumerate(tables)
    ]
    together = pa.concat_tables(numbered, promote_options="default")
    together = together.sort_by([("image_id", "ascending"), ("number", "ascending")])
    repeated = pc.equal(together["image_id"].slice(1), together["image_id"].slice(0, len(together) - 1))
    together = together.filter(pa.array(np.concatenate([[True], ~repeated.to_numpy()])))
    numbers = together["number"].to_numpy()
    # The first rows, which validation uses, have some of each catalog.
    turns = np.empty(len(together))
    for number, share in enumerate(shares):
        mine = np.flatnonzero(numbers == number)
        turns[mine] = np.arange(1, len(mine) + 1) / share
    order = np.argsort(turns, kind="stable")
    return together.take(order), numbers[order]


def _described(
    found: pa.Table, data: DataConfig, heldout: NDArray[np.bool_], splits: NDArray[np.str_]
) -> pa.Table:
    held = pa.array(heldout)
    columns, others = data.text_columns, data.heldout_text or data.text_columns
    texts, names = (
        pc.if_else(held, of(found, others), of(found, columns)) for of in (first_set, first_set_name)
    )
    return pa.table(
        {
            "image_id": found["image_id"],
            "row_id": found["_rowid"],
            "split": pa.array(splits),
            "text": texts,
            "text_column": names,
            "license": found["license"],
            "creator": found["creator"],
        }
    )


def _splits(image_ids: list[str], heldout: NDArray[np.bool_], data: DataConfig) -> NDArray[np.str_]:
    splits = np.where(heldout, "heldout", "unused")
    others = np.flatnonzero(~heldout)
    used = fraction_mask([image_ids[place] for place in others], data.fraction, data.fraction_seed)
    splits[others[used]] = "train"
    return splits


def _check_trained(
    table: pa.Table, selections: Sequence[Selection], numbers: NDArray[np.int64], data: DataConfig
) -> None:
    """Raise TrainingError if there is nothing to train on, or nothing from one of several catalogs."""
    splits = table["split"].to_numpy()
    trained, heldout = splits == "train", splits == "heldout"
    if not trained.any() and not heldout.all():
        raise TrainingError(
            f"data.fraction {data.fraction:g} of {np.count_nonzero(~heldout)} images in catalog "
            f"{', '.join(each.catalog.uri for each in selections)} is less than one image; give a larger share"
        )
    for number, each in enumerate(selections):
        mine = numbers == number
        if not (mine & trained).any():
            reasons = {
                "held out": np.count_nonzero(mine & heldout),
                "left out by data.fraction": np.count_nonzero(mine & ~heldout),
                "of images that an earlier catalog has": each.elsewhere,
            }
            raise TrainingError(
                f"catalog {each.catalog.uri} (version {each.catalog.version}) has nothing to train on: of "
                f"{np.count_nonzero(mine) + each.elsewhere} rows that the recipe chooses, "
                + ", ".join(f"{count} are {reason}" for reason, count in reasons.items() if count)
            )


def _explain_empty(catalog: Catalog, conditions: list[str], encode: str) -> str:
    """Explain which condition removed the last rows, and which command helps."""
    left = left_after(catalog, conditions)
    unset = conditions[left.index(0)].endswith(" IS NOT NULL")
    return (
        f"catalog {catalog.uri} (version {catalog.version}) has nothing to train on: "
        f"{describe_counts(catalog, conditions, left)}"
        + (f"; to make the columns: {encode}" if unset else remedy(catalog, conditions, left))
    )
