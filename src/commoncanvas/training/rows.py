"""The rows that a run sees: a pinned version of the catalog, filtered, split, in an order that only they decide."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.columns import ColumnInfo
from commoncanvas.catalog.filters import any_of, conditions_of, expression
from commoncanvas.catalog.heldout import fraction_mask, heldout_mask
from commoncanvas.catalog.where import all_of
from commoncanvas.config import DataConfig
from commoncanvas.errors import TrainingError


@dataclass(frozen=True)
class TrainingRows:
    """`table`: image_id, row_id, split ('train', 'heldout', or 'unused' for what `data.fraction` leaves out), text,
    text_column (the one that it is from), license, creator; sorted by image_id. Where training draws its texts, `mixed`
    are the columns that it draws from, and the table has them all in one, `texts`.
    """

    catalog: Catalog
    filter: str
    table: pa.Table
    mixed: tuple[str, ...] = ()
    kinds: NDArray[np.int64] | None = None
    """Of each row of `table` a number from 0 on: those of one number have one shape, and a batch is of one. None: all
    have the same.
    """
    sources: NDArray[np.int64] | None = None
    """Of each row of `table` the number of its source in `data.mix`. None: there is no mix."""

    def ids(self, split: str) -> NDArray[np.uint64]:
        """Stable row ids [N] of one split."""
        chosen = self.table.filter(pc.field("split") == split)
        return np.asarray(chosen["row_id"].to_numpy(), dtype=np.uint64)

    def kinds_of(self, split: str) -> NDArray[np.int64]:
        """The kinds [N] of `ids`."""
        return self._of(split, self.kinds)

    def sources_of(self, split: str) -> NDArray[np.int64]:
        """The sources [N] of `ids`."""
        return self._of(split, self.sources)

    def _of(self, split: str, numbers: NDArray[np.int64] | None) -> NDArray[np.int64]:
        chosen = self.table["split"].to_numpy() == split
        return np.zeros(int(chosen.sum()), np.int64) if numbers is None else numbers[chosen]

    def text_columns(self) -> list[str]:
        """The columns that training's texts are from, in alphabetical order."""
        if self.mixed:
            return sorted(self.mixed)
        chosen = self.table.filter(pc.field("split") == "train")["text_column"]
        return sorted(name for name in pc.unique(chosen).to_pylist() if name is not None)

    def texts(self, split: str) -> list[str]:
        return [text or "" for text in self.table.filter(pc.field("split") == split)["text"].to_pylist()]

    @cached_property
    def sha256(self) -> str:
        """Digest of what was chosen: image ids, split, text and source, in order."""
        digest = hashlib.sha256()
        names = ("image_id", "split", "texts" if self.mixed else "text")
        for row in zip(*(self.table[name].to_pylist() for name in names), strict=True):
            digest.update(repr(row).encode())
        if self.sources is not None:
            digest.update(self.sources.tobytes())
        return digest.hexdigest()


def select_rows(
    data: DataConfig,
    requires: Sequence[str],
    version: int | str | None = None,
    text: Sequence[str] | None = None,
    heldout_text: Sequence[str] | None = None,
    conditions: Sequence[str] = (),
) -> TrainingRows:
    """Choose the rows of `data` whose columns `requires` are all set, whose licence the policy allows, and that meet
    `conditions`, SQL, too.

    `text` and `heldout_text` override the columns that give each split its text. Raises TrainingError if a column is
    missing or nothing is left to train on, saying which condition took the rows.
    """
    catalog = Catalog.open(data.catalog, version=version if version is not None else data.version)
    missing = [name for name in requires if name not in catalog.schema.names]
    if missing:
        kinds = tuple({name.partition("_")[0] + "_" for name in missing})
        like = [
            field.name for field in catalog.schema if field.name.startswith(kinds) and ColumnInfo.of(field)
        ]
        raise TrainingError(
            f"catalog {data.catalog} (version {catalog.version}) has no column {', '.join(missing)}"
            + (f", but {', '.join(like)}" if like else "")
            + "; run the stage that makes it first"
        )
    conditions = [
        "fetch_status = 'ok'",
        *conditions_of(catalog, data.filter, data.version),
        licenses.sql_filter(licenses.Policy(data.policy), data.allow_no_derivatives),
        *(f"{name} IS NOT NULL" for name in requires),
        *any_of(catalog, data.mix or ()),
        *conditions,
    ]
    where = all_of(*conditions)

    columns = list(text or data.text_columns)
    heldout_columns = list(heldout_text or data.heldout_text or columns)
    present = [name for name in dict.fromkeys(columns + heldout_columns) if name in catalog.schema.names]
    found = catalog.table(
        [*dict.fromkeys(["image_id", "license", "creator", *present])], filter=where, with_row_id=True
    )
    found = found.sort_by("image_id")
    heldout = heldout_mask(found["image_id"].to_pylist(), data.heldout_fraction)
    texts, names = (
        pc.if_else(pa.array(heldout), held, trained)
        for held, trained in zip(_first_set(found, heldout_columns), _first_set(found, columns), strict=True)
    )
    table = pa.table(
        {
            "image_id": found["image_id"],
            "row_id": found["_rowid"],
            "split": pa.array(_splits(found["image_id"].to_pylist(), heldout, data)),
            "text": texts,
            "text_column": names,
            "license": found["license"],
            "creator": found["creator"],
        }
    )
    if heldout.all():
        raise TrainingError(_explain_empty(catalog, conditions))
    if "train" not in pc.unique(table["split"]).to_pylist():
        raise TrainingError(
            f"data.fraction {data.fraction:g} of {np.count_nonzero(~heldout)} images in catalog {data.catalog} is not "
            "one image; give a larger share"
        )
    mixed = tuple(name for name in data.text_mix or () if name in present) if text is None else ()
    if mixed:
        texts = pc.binary_join_element_wise(
            *(found[name] for name in mixed), "\x1f", null_handling="replace", null_replacement="\x00"
        )
        table = table.append_column("texts", texts)
    sources = _sources(catalog, where, list(data.mix), table) if data.mix else None
    return TrainingRows(catalog, where, table, mixed, sources=sources)


def _sources(catalog: Catalog, where: str, mix: Sequence[str], table: pa.Table) -> NDArray[np.int64]:
    """Of each row the number of the first filter of `mix` that it meets. Raises TrainingError for one that is left
    without a row to train on.
    """
    sources = np.full(len(table), -1)
    for number, condition in enumerate(mix):
        met = catalog.table(
            ["image_id"], filter=all_of(where, expression(catalog, condition)), with_row_id=True
        )
        sources[(sources < 0) & np.isin(table["row_id"].to_numpy(), met["_rowid"].to_numpy())] = number
    trained = sources[table["split"].to_numpy() == "train"]
    for number, condition in enumerate(mix):
        if number not in trained:
            raise TrainingError(
                f"data.mix: no row to train on is of {condition} and of none before it; "
                f"leave it out, or widen it (catalog {catalog.uri}, version {catalog.version})"
            )
    return sources


def _splits(image_ids: list[str], heldout: NDArray[np.bool_], data: DataConfig) -> NDArray[np.str_]:
    splits = np.where(heldout, "heldout", "unused")
    others = np.flatnonzero(~heldout)
    used = fraction_mask([image_ids[place] for place in others], data.fraction, data.fraction_seed)
    splits[others[used]] = "train"
    return splits


def _first_set(table: pa.Table, columns: Sequence[str]) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The first non-null of `columns`, row by row, and the name of the column that it is in."""
    nothing = pa.chunked_array([pa.nulls(len(table), pa.string())])
    present = [name for name in columns if name in table.column_names]
    texts = pc.coalesce(nothing, *(table[name] for name in present))
    names = pc.coalesce(
        nothing,
        *(pc.if_else(pc.is_valid(table[name]), name, pa.scalar(None, pa.string())) for name in present),
    )
    return texts, names


def _explain_empty(catalog: Catalog, conditions: list[str]) -> str:
    left = [f"{catalog.count()} rows"]
    for count in range(1, len(conditions) + 1):
        left.append(f"{catalog.count(all_of(*conditions[:count]))} after {conditions[count - 1][:80]}")
    return f"catalog {catalog.uri} (version {catalog.version}) has nothing to train on: {', '.join(left)}"
