"""The encode stage: what frozen networks make of a row, computed once, kept as fp16 columns, ahead of training.

A sample's states don't depend on its batch: every batch is filled up to one fixed shape before it meets the network.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.backfill import run_shown
from commoncanvas.catalog.columns import ColumnInfo, sources_of
from commoncanvas.catalog.filters import conditions_of
from commoncanvas.catalog.where import all_of
from commoncanvas.config import AutoencoderRecipe, CaptionerRecipe, DiffusionRecipe, Recipe
from commoncanvas.console import say
from commoncanvas.device import pick_device
from commoncanvas.errors import CatalogError
from commoncanvas.images.image import decode, square
from commoncanvas.latents.text import TextEncoder
from commoncanvas.latents.vae import latent_side, load_vae, scale, to_pixels, weights_sha256
from commoncanvas.telephoning import efficientnet
from commoncanvas.telephoning.features import fill, image_features

STATISTICS_ROWS = 4096


def column_info(catalog: Catalog, name: str) -> ColumnInfo:
    """How the column `name` was made. Raises CatalogError if it isn't a column of states."""
    info = ColumnInfo.of(catalog.schema.field(name))
    if info is None:
        raise CatalogError(
            f"column {name} of {catalog.uri} was not made by encode; encode --overwrite makes it anew"
        )
    return info


def states(column: pa.ChunkedArray, shape: Sequence[int]) -> Tensor:
    """A FixedSizeList column of N rows -> fp16 tensor [N, *shape]."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.array(values, dtype=np.float16)).view(len(column), *shape)


class FrozenStage(ABC):
    """Base of the encode stages: a network, loaded once a worker, run on batches of one fixed shape."""

    name: str
    reads: tuple[str, ...]
    info: ColumnInfo
    batch_size = 32

    def __init__(self, column: str) -> None:
        self.done_column = column
        self.todo = f"{column} IS NULL"

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        return (self.info.field(self.done_column),)

    def setup(self) -> None:  # noqa: B027 (the stage protocol has it; there is nothing left to do)
        """Everything is loaded at construction: one process, one copy of the weights."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        encoded = self.encode(batch).float().cpu().numpy().astype(np.float16)
        if not np.isfinite(encoded).all():
            rows = np.flatnonzero(~np.isfinite(encoded).reshape(len(encoded), -1).all(1))
            raise CatalogError(
                f"{self.name}: {len(rows)} rows give values outside fp16; the model {self.info.model} is broken"
            )
        column = pa.FixedSizeListArray.from_arrays(
            pa.array(encoded.reshape(-1)), int(np.prod(self.info.shape))
        )
        return pa.RecordBatch.from_arrays([column], names=[self.done_column])

    @abstractmethod
    def encode(self, batch: pa.RecordBatch) -> Tensor:
        """States [len(batch), *shape]."""


class LatentStage(FrozenStage):
    """Images -> `latent_<vae>_<size>`: the posterior's mean, before scaling."""

    reads = ("image",)

    def __init__(self, model: str, size: int, device: str = "auto") -> None:
        super().__init__(latent_column(model, size))
        self.name = "latents"
        self.size = size
        self.device = pick_device(device)
        self.vae = load_vae(model).to(self.device)
        side = latent_side(self.vae, size)
        shape = (self.vae.config.latent_channels, side, side)
        self.info = ColumnInfo(weights_sha256(self.vae), (("image", None),), shape, model)

    @torch.no_grad()
    def encode(self, batch: pa.RecordBatch) -> Tensor:
        images = np.stack([square(decode(data), self.size) for data in batch["image"].to_pylist()])
        pixels = to_pixels(torch.from_numpy(images))
        latents: Tensor = self.vae.encode(fill(pixels, self.batch_size).to(self.device)).latent_dist.mode()
        return latents[: len(batch)]


class TextStage(FrozenStage):
    """The first text column that is set -> `text_<encoder>_<length>`: the encoder's token states."""

    def __init__(
        self, model: str, length: int, sources: Sequence[tuple[str, str | None]], device: str = "auto"
    ) -> None:
        """`sources`: the text columns, each with the digest of the captioner that wrote it, if one did."""
        super().__init__(text_column(model, length))
        self.name = "text states"
        self.reads = tuple(name for name, _ in sources)
        self.encoder = TextEncoder(model, length)
        self.encoder.encoder.to(pick_device(device))
        shape = (length, self.encoder.width)
        self.info = ColumnInfo(weights_sha256(self.encoder.encoder), tuple(sources), shape, model)

    def encode(self, batch: pa.RecordBatch) -> Tensor:
        columns = [batch[name].to_pylist() for name in self.reads]
        texts = [next(text for text in row if text is not None) for row in zip(*columns, strict=True)]
        filled = texts + [""] * (self.batch_size - len(texts))
        return self.encoder(filled)[: len(batch)]


class FeatureStage(FrozenStage):
    """Images -> `efficientnet_lite0_<grid>`: EfficientNet-Lite0's last feature map, averaged to grid x grid cells."""

    reads = ("image",)

    def __init__(self, grid: int, device: str = "auto") -> None:
        super().__init__(feature_column(grid))
        self.name = "image features"
        self.grid = grid
        self.device = pick_device(device)
        self.network = efficientnet.load().to(self.device)
        shape = (efficientnet.FEATURES, grid, grid)
        digest = weights_sha256(efficientnet.weights_path())
        self.info = ColumnInfo(digest, (("image", None),), shape, "efficientnet-lite0")

    @torch.no_grad()
    def encode(self, batch: pa.RecordBatch) -> Tensor:
        images = [square(decode(data), efficientnet.INPUT_SIZE) for data in batch["image"].to_pylist()]
        return image_features(self.network, images, self.grid, self.batch_size)


def latent_column(vae: str, size: int) -> str:
    return f"latent_{slug(vae)}_{size}"


def text_column(encoder: str, length: int) -> str:
    return f"text_{slug(encoder)}_{length}"


def feature_column(grid: int) -> str:
    return f"efficientnet_lite0_{grid}"


def slug(model: str) -> str:
    """The last part of a path or hub id as a column name's part: `runs/xs-autoencoder` -> `xs_autoencoder`."""
    return re.sub(r"[^a-z0-9]+", "_", Path(model).name.lower()).strip("_")


def encode(recipe: Recipe, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the columns that training `recipe` reads; returns rows done and, for latents, their statistics.

    A column that other weights made is refused, unless `overwrite` drops it first. Raises CatalogError.
    """
    catalog = Catalog.open(recipe.data.catalog)
    report: dict[str, Any] = {}
    allowed = licenses.sql_filter(licenses.Policy(recipe.data.policy), recipe.data.allow_no_derivatives)
    chosen = conditions_of(catalog, recipe.data.filter, recipe.data.version)
    for stage, condition in _stages(recipe, catalog):
        _check_column(catalog, stage, overwrite)
        where = all_of("fetch_status = 'ok'", allowed, *chosen, condition)
        report[stage.done_column] = {"rows": run_shown(catalog, stage, where)}
        if isinstance(stage, LatentStage):
            report[stage.done_column] |= latent_statistics(catalog, stage)
    if not report:
        say(
            f"{recipe.name}: a recipe of task {recipe.task} reads images as they are, there is nothing to encode"
        )
    return report


def _stages(recipe: Recipe, catalog: Catalog) -> list[tuple[FrozenStage, str | None]]:
    """The stages of a recipe, each with the SQL condition of the rows that it can do."""
    device = recipe.train.device
    match recipe:
        case CaptionerRecipe():
            return [(FeatureStage(recipe.feature_grid, device), f"{recipe.data.text[0]} IS NOT NULL")]
        case DiffusionRecipe():
            texts = [name for name in recipe.data.text if name in catalog.schema.names]
            if not texts:
                raise CatalogError(
                    f"catalog {catalog.uri} has no text column ({', '.join(recipe.data.text)}); run caption first"
                )
            has_text = "(" + " OR ".join(f"{name} IS NOT NULL" for name in texts) + ")"
            return [
                (LatentStage(recipe.vae, recipe.size, device), None),
                (
                    TextStage(
                        recipe.text_encoder, recipe.text_length, sources_of(catalog.schema, texts), device
                    ),
                    has_text,
                ),
            ]
        case AutoencoderRecipe():
            return []


def _check_column(catalog: Catalog, stage: FrozenStage, overwrite: bool) -> None:
    name = stage.done_column
    if name not in catalog.schema.names:
        return
    made = ColumnInfo.of(catalog.schema.field(name))
    if made and made.identity == stage.info.identity:
        return
    if not overwrite:
        before = made.made_by if made else "something else"
        raise CatalogError(
            f"column {name} of {catalog.uri} was made by {before}, not by {stage.info.made_by}; "
            "encode --overwrite makes it anew"
        )
    catalog.drop_columns([name])


def latent_statistics(catalog: Catalog, stage: LatentStage) -> dict[str, list[float]]:
    """Mean and standard deviation a channel [C] of the scaled latents, over the first rows of the column."""
    table = catalog.table(
        [stage.done_column], filter=f"{stage.done_column} IS NOT NULL", limit=STATISTICS_ROWS
    )
    if not len(table):
        return {}
    latents = scale(stage.vae, states(table[stage.done_column], stage.info.shape).float())
    return {
        "mean": [round(float(value), 4) for value in latents.mean((0, 2, 3))],
        "std": [round(float(value), 4) for value in latents.std((0, 2, 3))],
    }
