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
from diffusers import AutoencoderKL
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
from commoncanvas.engine import Engine, engine_of
from commoncanvas.errors import CatalogError
from commoncanvas.files import from_anywhere
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
    """Base of the encode stages: a network, loaded once a worker, run on batches of one fixed shape.

    Pickled, it leaves its network behind; `setup` loads it again, on a device of the process that it is in then.
    """

    name: str
    reads: tuple[str, ...]
    info: ColumnInfo
    network: Any
    batch_size = 32

    def __init__(self, column: str, device: str) -> None:
        self.done_column = column
        self.todo = f"{column} IS NULL"
        self.device = device
        self.network = self.load()

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        return (self.info.field(self.done_column),)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "network"}
        # A worker sees the GPU that it was given, whatever its number is elsewhere.
        return kept | {"device": self.device.partition(":")[0]}

    def setup(self) -> None:
        """Raises ModelError if other weights are loaded than those that the column is named after."""
        if "network" not in self.__dict__:
            self.network = self.load()
            self.info.check(self.sha256())
        self.place(pick_device(self.device))

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
    def load(self) -> Any:
        """The network, on the CPU."""

    @abstractmethod
    def sha256(self) -> str:
        """Of the network's weights."""

    def place(self, device: torch.device) -> None:
        self.network.to(device)

    @abstractmethod
    def encode(self, batch: pa.RecordBatch) -> Tensor:
        """States [len(batch), *shape]."""


class LatentStage(FrozenStage):
    """Images -> `latent_<vae>_<size>`: the posterior's mean, before scaling."""

    reads = ("image",)

    def __init__(self, model: str, size: int, device: str = "auto") -> None:
        self.name = "latents"
        self.size = size
        self.model = from_anywhere(model)
        super().__init__(latent_column(model, size), device)
        side = latent_side(self.network, size)
        shape = (self.network.config.latent_channels, side, side)
        self.info = ColumnInfo(self.sha256(), (("image", None),), shape, model)

    def load(self) -> AutoencoderKL:
        return load_vae(self.model)

    def sha256(self) -> str:
        return weights_sha256(self.network)

    @torch.no_grad()
    def encode(self, batch: pa.RecordBatch) -> Tensor:
        images = np.stack([square(decode(data), self.size) for data in batch["image"].to_pylist()])
        pixels = to_pixels(torch.from_numpy(images))
        filled = fill(pixels, self.batch_size).to(self.network.device)
        latents: Tensor = self.network.encode(filled).latent_dist.mode()
        return latents[: len(batch)]


class TextStage(FrozenStage):
    """The first text column that is set -> `text_<encoder>_<length>`: the encoder's token states."""

    def __init__(
        self, model: str, length: int, sources: Sequence[tuple[str, str | None]], device: str = "auto"
    ) -> None:
        """`sources`: the text columns, each with the digest of the captioner that wrote it, if one did."""
        self.name = "text states"
        self.reads = tuple(name for name, _ in sources)
        self.model = from_anywhere(model)
        self.length = length
        super().__init__(text_column(model, length), device)
        shape = (length, self.network.width)
        self.info = ColumnInfo(self.sha256(), tuple(sources), shape, model)

    def load(self) -> TextEncoder:
        return TextEncoder(self.model, self.length)

    def sha256(self) -> str:
        return weights_sha256(self.network.encoder)

    def place(self, device: torch.device) -> None:
        self.network.encoder.to(device)

    def encode(self, batch: pa.RecordBatch) -> Tensor:
        columns = [batch[name].to_pylist() for name in self.reads]
        texts = [next(text for text in row if text is not None) for row in zip(*columns, strict=True)]
        filled = texts + [""] * (self.batch_size - len(texts))
        states: Tensor = self.network(filled)
        return states[: len(batch)]


class FeatureStage(FrozenStage):
    """Images -> `efficientnet_lite0_<grid>`: EfficientNet-Lite0's last feature map, averaged to grid x grid cells."""

    reads = ("image",)

    def __init__(self, grid: int, device: str = "auto") -> None:
        self.name = "image features"
        self.grid = grid
        super().__init__(feature_column(grid), device)
        shape = (efficientnet.FEATURES, grid, grid)
        self.info = ColumnInfo(self.sha256(), (("image", None),), shape, "efficientnet-lite0")

    def load(self) -> efficientnet.EfficientNetLite0:
        return efficientnet.load()

    def sha256(self) -> str:
        return weights_sha256(efficientnet.weights_path())

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


def encode(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    engine: Engine | str = "local",
    workers: int | None = None,
) -> dict[str, Any]:
    """Write the columns that training `recipe` reads; returns rows done and, for latents, their statistics.

    A column that other weights made is refused, unless `overwrite` drops it first. `engine` and `workers`: see
    `engine_of`; each worker loads the networks. Raises CatalogError, EngineError, ModelError.
    """
    engine = engine_of(engine, workers, recipe.train.device)
    catalog = Catalog.open(recipe.data.catalog)
    report: dict[str, Any] = {}
    allowed = licenses.sql_filter(licenses.Policy(recipe.data.policy), recipe.data.allow_no_derivatives)
    chosen = conditions_of(catalog, recipe.data.filter, recipe.data.version)
    for stage, condition in _stages(recipe, catalog):
        _check_column(catalog, stage, overwrite)
        where = all_of("fetch_status = 'ok'", allowed, *chosen, condition)
        report[stage.done_column] = {"rows": run_shown(catalog, stage, where, engine)}
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
    latents = scale(stage.network, states(table[stage.done_column], stage.info.shape).float())
    return {
        "mean": [round(float(value), 4) for value in latents.mean((0, 2, 3))],
        "std": [round(float(value), 4) for value in latents.std((0, 2, 3))],
    }
