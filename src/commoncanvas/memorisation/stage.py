"""The stage that computes the features of stored images, as the model's autoencoder draws them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from commoncanvas.core.console import progress
from commoncanvas.images.image import readable
from commoncanvas.memorisation.view import MOST, View
from commoncanvas.table.backfill import run
from commoncanvas.table.rows import RowIds
from commoncanvas.table.table import Catalog


class DrawnFeatures:
    """Images -> `view.column`, fp16 [D]; null for an image that can't be decoded."""

    name = "image features"
    reads = ("image",)
    batch_size = MOST
    leaves_null = True

    def __init__(self, view: View) -> None:
        self.view = view
        self.done_column = view.column
        self.todo = f"{view.column} IS NULL AND fetch_status = 'ok'"
        self.kind = pa.list_(pa.float16(), view.width)
        self.writes = (view.info.field(view.column, self.kind),)

    def setup(self) -> None:
        """The networks are loaded already."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        images = [readable(data) for data in batch["image"].to_pylist()]
        found = self.view.features(self.view.drawn([image for image in images if image is not None]))
        vectors: list[Any] = [None] * len(images)
        places = [place for place, image in enumerate(images) if image is not None]
        for place, vector in zip(places, found.astype(np.float16), strict=True):
            vectors[place] = vector
        return pa.RecordBatch.from_arrays([pa.array(vectors, self.kind)], names=[self.done_column])


def compute_features(
    catalog: Catalog, view: View, rows: RowIds, on_progress: Callable[[int], None] = lambda count: None
) -> None:
    """Fill `view.column` of the rows that lack it, and commit every few seconds. Raises CatalogError.

    `on_progress` gets how many more of `rows` are done: first those of earlier runs.
    """
    stage = DrawnFeatures(view)
    catalog.add_columns(stage.writes)
    done = catalog.table([], f"{view.column} IS NOT NULL", with_row_id=True)["_rowid"].to_numpy()
    todo = np.setdiff1d(rows, done)
    on_progress(len(rows) - len(todo))
    if len(todo):
        with progress("features", len(todo)) as bar:

            def advance(count: int) -> None:
                bar.advance(count)
                on_progress(count)

            run(catalog, stage, only=np.sort(todo), on_progress=advance)
    catalog.refresh()
