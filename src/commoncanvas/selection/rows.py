"""The rows that a run sees: from pinned versions of its catalogs, filtered, split and in a fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog

Positions = NDArray[np.int64] | slice
SPLITS = ("train", "heldout", "unused")


@dataclass(frozen=True)
class Selection:
    """The rows that `filter` (SQL) selects from one catalog's version. `elsewhere` of them are not used, because an
    earlier catalog has their images. `name`: as in the recipe's `data.catalogs`.
    """

    name: str
    catalog: Catalog
    filter: str
    share: float = 1.0
    elsewhere: int = 0
    left_out: tuple[int, ...] = ()
    """Ids of rows that were taken down before the run began. `filter` excludes them."""


@dataclass(frozen=True)
class TrainingRows:
    """`table`: image_id, row_id, split ('train', 'heldout', or 'unused' for rows outside `data.fraction`), text,
    text_column (the text's column), license, creator, catalog (its name). Rows of one catalog are sorted by image_id.
    Rows of several alternate by their shares while they last.
    With `data.heldout_by`, column `group` says which rows are held out together.
    If training draws texts, `mixed` names the columns that it draws from, and column `texts` joins all their texts.
    """

    selections: tuple[Selection, ...]
    table: pa.Table
    sources: NDArray[np.int64]
    """For each row of `table`, the number of its selection."""
    mixed: tuple[str, ...] = ()
    kinds: NDArray[np.int64] | None = None
    """A number from 0 for each row of `table`. Rows of one number have one shape, and a batch has one number. None: all
    rows have the same shape.
    """

    @property
    def catalogs(self) -> list[Catalog]:
        return [each.catalog for each in self.selections]

    def read(self, split: str, positions: Positions, columns: Sequence[str]) -> pa.Table:
        """Read `columns` of the rows of a split at `positions`, in that order. A value is null if the row's catalog
        lacks the column and another catalog has it.
        """
        ids, numbers = self._ids_and_sources[split]
        ids, numbers = ids[positions], numbers[positions]
        if len(self.selections) == 1:
            return self.selections[0].catalog.take(ids, columns)
        places = [np.flatnonzero(numbers == number) for number in range(len(self.selections))]
        parts = [
            self._taken(catalog, ids[at], columns) for catalog, at in zip(self.catalogs, places, strict=True)
        ]
        return pa.concat_tables(parts).take(np.argsort(np.concatenate(places)))

    def _taken(self, catalog: Catalog, ids: NDArray[np.uint64], columns: Sequence[str]) -> pa.Table:
        own = catalog.schema.names
        table = catalog.take(ids, [name for name in columns if name in own])
        for name in columns:
            if name not in own:
                field = next(each.schema.field(name) for each in self.catalogs if name in each.schema.names)
                table = table.append_column(field, pa.nulls(len(ids), field.type))
        return table.select(list(columns))

    def ids(self, split: str) -> NDArray[np.uint64]:
        """Stable row ids [N] of one split, each unique in its catalog."""
        return self._ids_and_sources[split][0]

    def kinds_of(self, split: str) -> NDArray[np.int64]:
        """The kinds [N] of `ids`."""
        chosen = pc.equal(self.table["split"], split).to_numpy()
        return np.zeros(int(chosen.sum()), np.int64) if self.kinds is None else self.kinds[chosen]

    def sources_of(self, split: str) -> NDArray[np.int64]:
        """The sources [N] of `ids`."""
        return self._ids_and_sources[split][1]

    @cached_property
    def _ids_and_sources(self) -> dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        ids = self.table["row_id"].to_numpy()
        splits = {name: pc.equal(self.table["split"], name).to_numpy() for name in SPLITS}
        return {name: (ids[chosen], self.sources[chosen]) for name, chosen in splits.items()}

    def of_catalog(self, number: int) -> NDArray[np.bool_]:
        """[N] True for the rows of `table` from `selections[number]`."""
        mine: NDArray[np.bool_] = self.sources == number
        return mine

    def text_columns(self, number: int) -> list[str]:
        """The text columns of `selections[number]` that training uses, in alphabetical order."""
        if self.mixed:
            return sorted(set(self.mixed) & set(self.catalogs[number].schema.names))
        mine = self.table.filter(pa.array(self.of_catalog(number)))
        chosen = mine.filter(pc.field("split") == "train")["text_column"]
        return sorted(name for name in pc.unique(chosen).to_pylist() if name is not None)

    def texts(self, split: str) -> list[str]:
        return [text or "" for text in self.table.filter(pc.field("split") == split)["text"].to_pylist()]

    @cached_property
    def sha256(self) -> str:
        return rows_sha256(self.table, [each.name for each in self.selections])


def rows_sha256(table: pa.Table, catalogs: Sequence[str]) -> str:
    """Digest of `TrainingRows.table`: image ids, splits, texts and catalogs, in order. `catalogs`: their names."""
    digest = hashlib.sha256()
    names = ("image_id", "split", "texts" if "texts" in table.column_names else "text")
    for row in zip(*(table[name].to_pylist() for name in names), strict=True):
        digest.update(repr(row).encode())
    digest.update(pc.index_in(table["catalog"], pa.array(catalogs)).to_numpy().astype(np.int64).tobytes())
    return digest.hexdigest()
