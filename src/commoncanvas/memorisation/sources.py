"""The `sources` command: the training images of a model that are nearest to any image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commoncanvas.core.errors import ImageError, ModelError
from commoncanvas.core.files import why
from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.evaluation.folder import diffusion_provenance
from commoncanvas.evaluation.networks.load import load_network
from commoncanvas.images.header import WEB_FORMATS
from commoncanvas.images.image import load
from commoncanvas.memorisation.calibrate import COPIES, STRANGERS, calibrated, kept_calibration
from commoncanvas.memorisation.command import FEATURES
from commoncanvas.memorisation.copies import Pixels
from commoncanvas.memorisation.learned import Learned
from commoncanvas.memorisation.result import MEANING, Source, Sources
from commoncanvas.memorisation.view import View
from commoncanvas.models.devices import pick_device
from commoncanvas.provenance.model_card import MEMORISATION

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
    model = str(model)
    if count < 1:
        raise ModelError(f"--count {count}: give at least 1")
    arrays = [_read(Path(file)) for file in files]
    learned = Learned(
        model, diffusion_provenance(model), [catalog] if isinstance(catalog, str) else catalog or ()
    )
    view = View(load_pipeline(model).to(pick_device(device)), load_network(features, device))
    folder = Path(model) / MEMORISATION.parent
    learned.compute(view)
    whitening, calibration = kept_calibration(folder, learned, view) or calibrated(
        folder, learned, view, strangers=strangers, copies=copies, seed=seed
    )
    own = (view.size, view.size)
    shown = [array if array.shape[:2] == own else view.drawn([array])[0] for array in arrays]
    found = []
    for file, near in zip(files, learned.nearest(view, view.features(shown), whitening, count), strict=True):
        credits = learned.credits([each.row for each in near])
        found.append(
            Sources(
                image=str(file),
                model=model,
                features=view.network.name,
                threshold=1 - calibration.threshold,
                strangers=len(calibration.strangers),
                meaning=MEANING,
                sources=tuple(
                    Source(
                        image_id=credit.image_id,
                        catalog=each.row.catalog,
                        distance=round(1 - each.similarity, 4),
                        percentile=round(calibration.percentile(each.similarity), 2),
                        copy=each.similarity > calibration.threshold,
                        credit=credit.text(),
                    )
                    for each, credit in zip(near, credits, strict=True)
                ),
            )
        )
    return found


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
