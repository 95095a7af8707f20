"""Telephoning: a pretrained image-to-text model writes the captions that openly licensed images lack.

One protocol for every captioner, and the stage that runs one over the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.backfill import run_shown
from commoncanvas.catalog.columns import ColumnInfo
from commoncanvas.catalog.filters import expression
from commoncanvas.catalog.where import all_of
from commoncanvas.console import say
from commoncanvas.engine import Engine, engine_of
from commoncanvas.errors import CatalogError, ModelError
from commoncanvas.files import from_anywhere
from commoncanvas.images.image import decode
from commoncanvas.telephoning.sentences import agreement


class Captioner(Protocol):
    """Writes one caption an image; the same for an image whatever else is in its batch."""

    name: str
    sha256: str
    trained_on: dict[str, Any] | None
    """What it learned from, as `provenance.origin` says it; None if that isn't recorded."""

    def caption(self, images: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Images uint8 [H, W, 3], RGB, of any size -> as many captions."""
        ...


def load_captioner(model: str) -> Captioner:
    """The captioner in a model folder that `commoncanvas train` wrote. Raises ModelError."""
    config = Path(model) / "config.json"
    if not config.is_file():
        raise ModelError(
            f"{model} is not a captioner's folder: it has no config.json; train one (recipes/xs-captioner.yaml)"
        )
    kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    if kind != "commoncanvas-xs-captioner":
        raise ModelError(f"{model} holds a model of type {kind!r}, not a captioner that this version knows")
    from commoncanvas.telephoning.xs import XSCaptioner

    return XSCaptioner(Path(model))


class CaptionStage:
    """Images -> a caption and the name of the model that wrote it.

    Pickled, it leaves its captioner behind; `setup` loads it from `model` again.
    """

    name = "captions"
    reads = ("image",)
    batch_size = 32

    def __init__(self, captioner: Captioner, column: str, model: str = "") -> None:
        self.captioner = captioner
        self.model = from_anywhere(model)
        self.column = column
        self.done_column = f"{column}_model"
        self.todo = f"{self.done_column} IS NULL"
        self.info = ColumnInfo(captioner.sha256, (("image", None),), (), captioner.name, captioner.trained_on)
        self.writes = tuple(self.info.field(name, pa.string()) for name in (column, self.done_column))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "captioner"}

    def setup(self) -> None:
        """Load the captioner that pickling left behind. Raises ModelError if another one is there by now."""
        if "captioner" not in self.__dict__:
            self.captioner = load_captioner(self.model)
            self.info.check(self.captioner.sha256)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        captions = self.captioner.caption([decode(data) for data in batch["image"].to_pylist()])
        names = [self.captioner.name] * len(captions)
        return pa.RecordBatch.from_arrays(
            [pa.array(captions, pa.string()), pa.array(names, pa.string())],
            names=[self.column, self.done_column],
        )


def caption(
    catalog: str,
    captioner: str,
    *,
    column: str = "caption",
    where: str | None = "label IS NULL",
    overwrite: bool = False,
    engine: Engine | str = "local",
    workers: int | None = None,
) -> dict[str, Any]:
    """Caption the fetched images of `catalog` that meet `where` (default: those without human text).

    Returns the rows done and, over rows whose title is known, the sentence cosine between caption and title beside
    the same for shuffled captions. A column that another captioner wrote is refused unless `overwrite` drops it.
    `engine` and `workers`: see `engine_of`; each worker loads the captioner. Raises CatalogError, EngineError,
    ModelError.
    """
    engine = engine_of(engine, workers, device="auto")
    table = Catalog.open(catalog)
    writer = load_captioner(captioner)
    stage = CaptionStage(writer, column, captioner)
    if column in table.schema.names:
        made = ColumnInfo.of(table.schema.field(column))
        if not made or made.identity != stage.info.identity:
            if not overwrite:
                before = made.made_by if made else "something else"
                raise CatalogError(
                    f"column {column} of {catalog} was written by {before}, not by {stage.info.made_by}; "
                    "choose another --column, or --overwrite"
                )
            dropped = table.drop_columns([column, stage.done_column])
            say(f"dropped {', '.join(dropped)}; encode makes anew what was made of them")
    condition = all_of("fetch_status = 'ok'", expression(table, where))
    done = run_shown(table, stage, condition, engine)
    return {"captions": done, "captioner": writer.name, "column": column} | quality(table, column, condition)


def quality(catalog: Catalog, column: str, where: str) -> dict[str, Any]:
    """Agreement of captions with the titles of the same images; empty where there are no two titles to compare."""
    both = all_of(where, f"{column} IS NOT NULL", "title IS NOT NULL")
    rows = catalog.table([column, "title"], filter=both)
    if len(rows) < 2:
        return {}
    matched, shuffled = agreement(rows[column].to_pylist(), rows["title"].to_pylist())
    return {
        "compared": len(rows),
        "caption_cosine": round(matched, 4),
        "caption_cosine_shuffled": round(shuffled, 4),
        "distinct_captions": len(set(rows[column].to_pylist())),
    }
