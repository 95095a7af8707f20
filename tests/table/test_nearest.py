"""Nearest vectors: the same neighbours with and without the index, also after rows were added and deleted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.nearest import nearest
from commoncanvas.table.schema import to_batch

ROWS, WIDTH = 5000, 32
VECTORS = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float16)
INFO = ColumnInfo("0" * 64, (("image", None),), (WIDTH,), "numbers")


class Vectors:
    """The vector of each row's number."""

    name, reads, done_column, batch_size, todo = "vectors", ("image_id",), "vectors", 512, "vectors IS NULL"
    writes = (INFO.field("vectors"),)

    def setup(self) -> None: ...

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        numbers = [int(name[2:]) for name in batch["image_id"].to_pylist()]
        values = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[numbers].reshape(-1)), WIDTH)
        return pa.RecordBatch.from_arrays([values], names=["vectors"])


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog.create(tmp_path / "catalog.lance")
    made.add([to_batch([{"image_id": f"n:{number:05}", "source": "n"} for number in range(ROWS)])])
    return made


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def ids(catalog: Catalog) -> np.ndarray:
    return np.asarray(catalog.table(["image_id"], with_row_id=True)["_rowid"].to_numpy())


def expected(queries: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    scores = unit(queries) @ unit(VECTORS[rows].astype(np.float32)).T
    return rows[np.argsort(-scores, axis=1)[:, :count]]


@pytest.mark.parametrize("indexed_from", [10**9, 1])
def test_the_nearest_rows_are_those_of_all_rows_compared(catalog: Catalog, indexed_from: int) -> None:
    catalog.backfill(Vectors(), where="image_id < 'n:04500'")
    row_ids = ids(catalog)
    asked = VECTORS[:40].astype(np.float32) + 0.1
    found = nearest(catalog, "vectors", asked, 3, unit, row_ids, indexed_from=indexed_from)
    wanted = expected(asked, np.arange(4500), 3)
    numbers = np.searchsorted(row_ids, found.row_ids)
    assert np.array_equal(numbers[:, 0], wanted[:, 0])
    # The index may miss some. Of random vectors no two are near, which is the hardest case.
    assert (numbers == wanted).mean() > (0.5 if indexed_from == 1 else 0.999)
    assert np.all(np.diff(found.similarities, axis=1) <= 0)
    # Rows that got their vectors after the index was made, and rows that are gone.
    catalog.backfill(Vectors())
    catalog.dataset.delete("image_id = 'n:00007'")
    catalog.refresh()
    again = nearest(
        catalog, "vectors", VECTORS[[4900, 7]].astype(np.float32), 1, unit, row_ids, indexed_from=indexed_from
    )
    assert again.row_ids[0, 0] == row_ids[4900] and again.row_ids[1, 0] != row_ids[7]


@pytest.mark.parametrize("indexed_from", [10**9, 1])
def test_only_the_rows_that_were_asked_for_are_found(catalog: Catalog, indexed_from: int) -> None:
    catalog.backfill(Vectors())
    few = ids(catalog)[[3, 100, 4000]]
    found = nearest(
        catalog, "vectors", VECTORS[:5].astype(np.float32), 10, unit, few, indexed_from=indexed_from
    )
    assert found.row_ids.shape == (5, 3) and set(found.row_ids.ravel()) == set(few)


def test_a_missing_column_is_named(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="has no column vectors"):
        nearest(catalog, "vectors", np.zeros((1, WIDTH), np.float32), 1, unit, ids(catalog))
