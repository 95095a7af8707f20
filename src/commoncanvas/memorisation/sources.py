"""The `sources` command: the training images of a model that are nearest to any image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commoncanvas.core.errors import ImageError, ModelError
from commoncanvas.core.files import why
from commoncanvas.images.header import WEB_FORMATS
from commoncanvas.images.image import load
from commoncanvas.memorisation.calibrate import COPIES, STRANGERS
from commoncanvas.memorisation.command import FEATURES
from commoncanvas.memorisation.copies import Pixels
from commoncanvas.memorisation.finder import Found, SourceFinder
from commoncanvas.memorisation.result import MEANING, Source, Sources

LARGEST = 1024
"""Pixels of the shorter side that is read of an image."""


def sources(
    images: str | Path | Sequence[str | Path],
    model: str | Path,
    *,
    catalog: str | Sequence[str] | None = None,
    count: int = 5,
    features: str = FEATURES,
    strangers: int = STRANGERS,
    copies: int = COPIES,
    seed: int = 0,
    device: str = "auto",
) -> list[Sources]:
    """For each image file, the `count` training images of `model` that are nearest to it.

    An image of just the model's size is taken as the model drew it; others pass its autoencoder first, as the training
    images did. A calibration that is in the model's folder is used; `strangers` and `copies` are for a new one.
    `catalog`, `features`: as for `measure_memorisation`. Raises CatalogError, ModelError, MissingExtraError.
    """
    files = [images] if isinstance(images, str | Path) else list(images)
    if count < 1:
        raise ModelError(f"--count {count}: give at least 1")
    arrays = [_read(Path(file)) for file in files]
    finder = SourceFinder(
        str(model),
        [catalog] if isinstance(catalog, str) else catalog or (),
        features=features,
        strangers=strangers,
        copies=copies,
        seed=seed,
        device=device,
    )
    found = finder.find(arrays, count)
    return [
        Sources(
            image=str(file),
            model=str(model),
            features=finder.network,
            threshold=1 - finder.calibration.threshold,
            strangers=len(finder.calibration.strangers),
            meaning=MEANING,
            sources=tuple(map(_source, near)),
        )
        for file, near in zip(files, found, strict=True)
    ]


def _source(found: Found) -> Source:
    return Source(
        image_id=found.credit.image_id,
        catalog=found.catalog,
        distance=found.distance,
        percentile=found.percentile,
        copy=found.copy,
        credit=found.credit.text(),
    )


def _read(file: Path) -> Pixels:
    """An image file of the web's formats, at most LARGEST pixels on its shorter side. Raises ModelError."""
    try:
        array, _ = load(file.read_bytes(), LARGEST, "shortest", formats=WEB_FORMATS)
    except OSError as error:
        raise ModelError(f"{file} can't be read: {why(error)}") from error
    except ImageError as error:
        raise ModelError(
            f"{file} can't be read as an image: {error}; give a JPEG, PNG or WebP file"
        ) from error
    return array
