"""The images that a model learned from, strangers to it, and which of the former are nearest to given images.

The newest versions of the catalogs are read: images that were taken down since are neither looked at nor shown.

Shapes: Q given images, D features, K neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.core.errors import ModelError
from commoncanvas.images.image import readable
from commoncanvas.memorisation.copies import Pixels
from commoncanvas.memorisation.projection import Vectors, Whitening
from commoncanvas.memorisation.stage import compute_features
from commoncanvas.memorisation.view import View
from commoncanvas.provenance.folder import catalog_places, read_rows
from commoncanvas.table.nearest import INDEXED_FROM, Chunk, nearest, projected_rows, vectors_of
from commoncanvas.table.rows import RowIds, among

FETCHED_WITH_HASH = "fetch_status = 'ok' AND phash IS NOT NULL"
SISTER_BITS = 6
"""An image whose perceptual hash differs from that of a training image in so few of 64 bits is a sister of it, the same
picture but for details, and no stranger. It is the distance of `curate --deduplicate`.
"""


@dataclass(frozen=True)
class Row:
    """A row of one of the model's catalogs."""

    catalog: str
    row_id: int


@dataclass(frozen=True)
class Near:
    """A training image near to a given one. `similarity`: the cosine of whitened features, 1 at most."""

    row: Row
    similarity: float


class Learned:
    """A model's training images, in the newest versions of its catalogs."""

    def __init__(self, model: str, provenance: Mapping[str, Any], moved: Sequence[str]) -> None:
        """`moved`: as for `catalog_places`. Raises CatalogError, ModelError."""
        places = catalog_places(model, dict(provenance), moved)
        self._kept: dict[str, list[Chunk]] = {}
        self.rows = read_rows(model)
        self.catalogs = {name: Catalog.open(uri) for name, uri in places.items()}
        self._trained = self.rows.filter(pc.equal(self.rows["split"], "train"))
        self.ids = {
            name: _still_there(catalog, name, self._trained) for name, catalog in self.catalogs.items()
        }
        if not sum(map(len, self.ids.values())):
            raise ModelError(
                f"none of the images that {model} learned from is stored in {', '.join(places.values())}; "
                "fetch them, or name its catalog with --catalog"
            )

    def refresh(self) -> None:
        """Move to the newest versions of the catalogs. Raises CatalogError."""
        for name, catalog in self.catalogs.items():
            before = catalog.version
            catalog.refresh()
            if catalog.version != before:
                self.ids[name] = _still_there(catalog, name, self._trained)
                self._kept.pop(name, None)

    def keep(self, view: View, whitening: Whitening) -> None:
        """Keep the whitened features in memory, as far as `nearest` reads them each time: 1 KB an image."""
        for name, catalog in self.catalogs.items():
            if name not in self._kept and len(self.ids[name]) < INDEXED_FROM:
                self._kept[name] = list(projected_rows(catalog, view.column, whitening, self.ids[name]))

    @property
    def gone(self) -> int:
        """Training images that the catalogs no longer have."""
        return len(self._trained) - sum(map(len, self.ids.values()))

    @cached_property
    def hashes(self) -> dict[str, NDArray[np.uint64]]:
        """The perceptual hash of each training image, as `ids`; 0 without one, and for a plain image."""
        return {
            name: pc.fill_null(catalog.take(self.ids[name], ["phash"])["phash"], 0).to_numpy()
            for name, catalog in self.catalogs.items()
        }

    @property
    def digest(self) -> str:
        """Of the training images that are still there."""
        digest = hashlib.sha256()
        for name, ids in self.ids.items():
            digest.update(f"{name}:{len(ids)}".encode())
            digest.update(ids.tobytes())
        return digest.hexdigest()

    def some(self, count: int, seed: int) -> list[Row]:
        """Up to `count` training images, drawn at random."""
        ends = np.cumsum([0, *map(len, self.ids.values())])
        chosen = np.random.default_rng(seed).permutation(ends[-1])[:count]
        return [
            Row(name, int(self.ids[name][place - start]))
            for place in chosen.tolist()
            for name, start, end in zip(self.ids, ends, ends[1:], strict=False)
            if start <= place < end
        ]

    def strangers(self, count: int, seed: int) -> list[Row]:
        """Up to `count` images of the catalogs, in random order, that the model didn't learn from and that have no
        sister among those that it learned from. Held-out images come first.
        """
        random = np.random.default_rng(seed)
        firsts = [names[0] for names in self._names_of_places()]
        parts = [self._not_learned(names) for names in self._names_of_places()]
        names = np.repeat(firsts, [len(part[0]) for part in parts])
        ids, hashes, heldout = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.lexsort((random.permutation(len(ids)), ~heldout))
        learned = np.unique(np.concatenate(list(self.hashes.values())))
        learned = learned[learned != 0]
        chosen: list[Row] = []
        for place in order.tolist():
            if len(chosen) == count:
                break
            if int(np.bitwise_count(learned ^ hashes[place]).min(initial=64)) > SISTER_BITS:
                chosen.append(Row(str(names[place]), int(ids[place])))
        return [chosen[place] for place in random.permutation(len(chosen)).tolist()]

    def _names_of_places(self) -> list[list[str]]:
        """The catalogs' names, together if they are one table with several filters."""
        names: dict[str, list[str]] = {}
        for name, catalog in self.catalogs.items():
            names.setdefault(catalog.uri, []).append(name)
        return list(names.values())

    def _not_learned(self, names: list[str]) -> tuple[RowIds, NDArray[np.uint64], NDArray[np.bool_]]:
        """Ids of a table's rows that were not trained on, their perceptual hashes, and whether they were held out."""
        mine = self.rows.filter(pc.is_in(self.rows["catalog"], pa.array(names)))
        train = pc.equal(mine["split"], "train")
        table = self.catalogs[names[0]].table(["phash"], FETCHED_WITH_HASH, with_row_id=True)
        table = table.filter(pa.array(~among(table["_rowid"].to_numpy(), _ids(mine.filter(train)))))
        ids = table["_rowid"].to_numpy()
        return ids, table["phash"].to_numpy(), among(ids, _ids(mine.filter(pc.invert(train))))

    def compute(
        self, view: View, more: Sequence[Row] = (), on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Compute the features of all training images, and of the rows `more`, that lack them. Raises CatalogError.

        `on_progress` gets the number of images that are done, and of all.
        """
        done, every = 0, sum(map(len, self.ids.values()))

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if on_progress is not None:
                on_progress(done, every)

        for name, catalog in self.catalogs.items():
            others = np.array([row.row_id for row in more if row.catalog == name], np.uint64)
            compute_features(catalog, view, np.union1d(self.ids[name], others), advance)

    def features(self, view: View, rows: Sequence[Row]) -> Vectors:
        """The stored features [N, D] of rows, catalog by catalog; those whose image can't be decoded are left out."""
        parts = [np.empty((0, view.width), np.float32)]
        for name, catalog in self.catalogs.items():
            ids = np.array([row.row_id for row in rows if row.catalog == name], np.uint64)
            column = catalog.take(ids, [view.column])[view.column]
            parts.append(vectors_of(column.filter(column.is_valid())))
        return np.concatenate(parts)

    def nearest(self, view: View, features_QD: Vectors, whitening: Whitening, count: int) -> list[list[Near]]:
        """For each given image the `count` most similar training images, the most similar first. Raises CatalogError,
        and ModelError if no training image can be decoded.
        """
        found: list[list[Near]] = [[] for _ in features_QD]
        for name, catalog in self.catalogs.items():
            ids, similarities = nearest(
                catalog,
                view.column,
                features_QD,
                count,
                whitening,
                self.ids[name],
                kept=self._kept.get(name),
            )
            for place, near in enumerate(found):
                near += [
                    Near(Row(name, int(row_id)), float(similarity))
                    for row_id, similarity in zip(ids[place], similarities[place], strict=True)
                ]
        if not all(found):
            raise ModelError("none of the model's training images can be decoded; fetch them again")
        return [sorted(near, key=lambda each: -each.similarity)[:count] for near in found]

    def images(self, rows: Sequence[Row]) -> list[Pixels | None]:
        """The stored images [H, W, 3] of rows; None for one that can't be decoded."""
        return [readable(data) for data in self.column(rows, "image")]

    def column(self, rows: Sequence[Row], name: str) -> list[Any]:
        """The values of one column, in the order of `rows`."""
        return [values[name] for values in self._values(rows, [name])]

    def credits(self, rows: Sequence[Row]) -> list[Credit]:
        return [credit(values) for values in self._values(rows, list(COLUMNS))]

    def _values(self, rows: Sequence[Row], columns: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{} for _ in rows]
        for name, catalog in self.catalogs.items():
            places = [place for place, row in enumerate(rows) if row.catalog == name]
            ids = np.array([rows[place].row_id for place in places], np.uint64)
            for place, values in zip(places, catalog.take(ids, columns).to_pylist(), strict=True):
                found[place] = values
        return found


def _still_there(catalog: Catalog, name: str, trained: pa.Table) -> RowIds:
    """Sorted ids of the rows that a model learned from, as far as the catalog's newest version has their images."""
    mine = trained.filter(pc.equal(trained["catalog"], name)).sort_by("row_id")
    there = catalog.table(["image_id"], "fetch_status = 'ok'", with_row_id=True)
    there = there.filter(pa.array(among(there["_rowid"].to_numpy(), _ids(mine)))).sort_by("_rowid")
    mine = mine.filter(pa.array(among(mine["row_id"].to_numpy(), _ids(there, "_rowid"))))
    same = pc.equal(mine["image_id"].combine_chunks(), there["image_id"].combine_chunks())
    return _ids(there.filter(same), "_rowid")


def _ids(rows: pa.Table, column: str = "row_id") -> RowIds:
    return np.unique(rows[column].to_numpy().astype(np.uint64))
