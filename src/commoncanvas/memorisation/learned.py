"""The images that a model learned from, strangers to it, and which of the former are nearest to given images.

The newest versions of the catalogs are read: images that were taken down since are neither looked at nor shown.

Shapes: Q given images, D features, K neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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
from commoncanvas.memorisation.projection import Vectors, Whitening
from commoncanvas.memorisation.stage import compute_features
from commoncanvas.memorisation.view import Pixels, View
from commoncanvas.provenance.folder import catalog_places, read_rows
from commoncanvas.table.nearest import nearest, vectors_of
from commoncanvas.table.rows import RowIds, among

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
        self.rows = read_rows(model)
        self.catalogs = {name: Catalog.open(uri) for name, uri in places.items()}
        self.ids: dict[str, RowIds] = {}
        trained = self.rows.filter(pc.equal(self.rows["split"], "train"))
        for name, catalog in self.catalogs.items():
            mine = trained.filter(pc.equal(trained["catalog"], name))
            there = catalog.table(["image_id"], "fetch_status = 'ok'", with_row_id=True)
            ours = dict(zip(mine["row_id"].to_pylist(), mine["image_id"].to_pylist(), strict=True))
            kept = [
                row_id
                for row_id, image_id in zip(
                    there["_rowid"].to_pylist(), there["image_id"].to_pylist(), strict=True
                )
                if ours.get(row_id) == image_id
            ]
            self.ids[name] = np.array(sorted(kept), np.uint64)
        self.gone = len(trained) - sum(map(len, self.ids.values()))
        if not sum(map(len, self.ids.values())):
            raise ModelError(
                f"none of the images that {model} learned from is in {', '.join(places.values())}; "
                "name its catalog with --catalog"
            )

    @cached_property
    def hashes(self) -> dict[str, dict[int, int]]:
        """Perceptual hash of each training image that has one, by row id."""
        found: dict[str, dict[int, int]] = {}
        for name, catalog in self.catalogs.items():
            table = catalog.take(self.ids[name], ["_rowid", "phash"])
            table = table.filter(table["phash"].is_valid())
            found[name] = dict(zip(table["_rowid"].to_pylist(), table["phash"].to_pylist(), strict=True))
        return found

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
        rows = [Row(name, row_id) for name, ids in self.ids.items() for row_id in ids.tolist()]
        return _drawn(rows, count, seed)

    def strangers(self, count: int, seed: int) -> list[Row]:
        """Up to `count` images of the catalogs, in random order, that the model didn't learn from and that have no
        sister among those that it learned from. Held-out images come first.
        """
        used = self.rows.filter(pc.equal(self.rows["split"], "train"))
        learned = {
            name: np.unique(
                used.filter(pc.equal(used["catalog"], name))["row_id"].to_numpy().astype(np.uint64)
            )
            for name in self.catalogs
        }
        ours = np.array(sorted({one for each in self.hashes.values() for one in each.values()}), np.uint64)
        known = {(each["catalog"], each["row_id"]) for each in self.rows.to_pylist()}
        heldout: list[tuple[Row, int]] = []
        others: list[tuple[Row, int]] = []
        for name, catalog in self.catalogs.items():
            table = catalog.table(["phash"], "fetch_status = 'ok' AND phash IS NOT NULL", with_row_id=True)
            table = table.filter(pa.array(~among(table["_rowid"].to_numpy(), learned[name])))
            for row_id, phash in zip(table["_rowid"].to_pylist(), table["phash"].to_pylist(), strict=True):
                place = heldout if (name, row_id) in known else others
                place.append((Row(name, row_id), phash))
        hashes = dict([*heldout, *others])
        ordered = [
            row for group in (heldout, others) for row in _drawn([row for row, _ in group], len(group), seed)
        ]
        chosen: list[Row] = []
        for start in range(0, len(ordered), count):
            some = ordered[start : start + count]
            chosen += [row for row in some if _fewest_bits(hashes[row], ours) > SISTER_BITS]
            if len(chosen) >= count:
                break
        return _drawn(chosen[:count], count, seed + 1)

    def compute(self, view: View, more: Sequence[Row] = ()) -> None:
        """Compute the features of all training images, and of the rows `more`, that lack them. Raises CatalogError."""
        for name, catalog in self.catalogs.items():
            others = np.array([row.row_id for row in more if row.catalog == name], np.uint64)
            compute_features(catalog, view, np.union1d(self.ids[name], others))

    def features(self, view: View, rows: Sequence[Row]) -> Vectors:
        """The stored features [N, D] of rows; those whose image can't be decoded are left out."""
        parts = [np.empty((0, view.width), np.float32)]
        for name, catalog in self.catalogs.items():
            ids = np.array([row.row_id for row in rows if row.catalog == name], np.uint64)
            column = catalog.take(ids, [view.column])[view.column]
            parts.append(vectors_of(column.filter(column.is_valid())))
        return np.concatenate(parts)

    def nearest(self, view: View, features_QD: Vectors, whitening: Whitening, count: int) -> list[list[Near]]:
        """For each given image the `count` most similar training images, the most similar first."""
        found: list[list[Near]] = [[] for _ in features_QD]
        for name, catalog in self.catalogs.items():
            ids, similarities = nearest(catalog, view.column, features_QD, count, whitening, self.ids[name])
            for place, near in enumerate(found):
                near += [
                    Near(Row(name, int(row_id)), float(similarity))
                    for row_id, similarity in zip(ids[place], similarities[place], strict=True)
                ]
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


def _drawn(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Rows in an order that their ids and the seed decide."""

    def key(row: Row) -> bytes:
        return hashlib.sha256(f"memorisation:{seed}:{row.catalog}:{row.row_id}".encode()).digest()

    return sorted(rows, key=key)[:count]


def _fewest_bits(phash: int, others: NDArray[np.uint64]) -> int:
    return int(np.bitwise_count(others ^ np.uint64(phash)).min(initial=64))
