"""Finds the training images of a model that are nearest to any image. It is loaded once, and asked often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from commoncanvas.catalog.credits import Credit
from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.evaluation.folder import diffusion_provenance
from commoncanvas.evaluation.networks.load import load_network
from commoncanvas.memorisation.calibrate import (
    COPIES,
    STRANGERS,
    calibrated,
    calibration_folder,
    kept_calibration,
)
from commoncanvas.memorisation.calibration import Calibration
from commoncanvas.memorisation.command import FEATURES
from commoncanvas.memorisation.copies import Pixels
from commoncanvas.memorisation.learned import Learned
from commoncanvas.memorisation.projection import Whitening
from commoncanvas.memorisation.view import View
from commoncanvas.models.devices import pick_device
from commoncanvas.models.pretrained import model_folder

OnProgress = Callable[[int, int], None]
"""(images looked at, all images), while the finder is loaded."""


@dataclass(frozen=True)
class Found:
    """A training image near to a given one.

    `catalog`: its name in the model's record. `distance`: 1 minus the cosine of whitened features, from 0 to 2.
    `percentile`: per cent of the strangers that are less near to their nearest training image. `copy`: whether it is
    as near as a copy.
    """

    credit: Credit
    catalog: str
    distance: float
    percentile: float
    copy: bool


class SourceFinder:
    """The training images of one model. Its methods are for one thread at a time.

    `model`: a model folder, or `xs`. `pipeline`: the model, if it is loaded already. `catalog`, `features`: as for
    `measure_memorisation`. `strangers`, `copies`: for a new calibration; one that is kept is used as it is.
    """

    def __init__(
        self,
        model: str,
        catalog: Sequence[str] = (),
        *,
        features: str = FEATURES,
        strangers: int = STRANGERS,
        copies: int = COPIES,
        seed: int = 0,
        device: str = "auto",
        pipeline: Any = None,
    ) -> None:
        self.model = model_folder(model)
        self._catalog = catalog
        self._features, self._device = features, device
        self._settings = {"strangers": strangers, "copies": copies, "seed": seed}
        self._folder = calibration_folder(self.model)
        self._pipeline = pipeline
        self._loaded: tuple[Learned, View, Whitening, Calibration] | None = None

    def load(self, on_progress: OnProgress | None = None) -> None:
        """Load the network, and look at all training images that no earlier run looked at: seconds for a thousand of
        them. Raises CatalogError, ModelError, MissingExtraError.
        """
        learned = Learned(self.model, diffusion_provenance(self.model), self._catalog)
        pipeline = self._pipeline or load_pipeline(self.model).to(pick_device(self._device))
        view = View(pipeline, load_network(self._features, self._device))
        learned.compute(view, on_progress=on_progress)
        found = kept_calibration(self._folder, learned, view) or calibrated(
            self._folder, learned, view, **self._settings
        )
        self._loaded = learned, view, *found

    @property
    def network(self) -> str:
        """The name of the network that compares."""
        return self._parts()[1].network.name

    @property
    def calibration(self) -> Calibration:
        return self._parts()[3]

    def find(self, images: Sequence[Pixels], count: int) -> list[list[Found]]:
        """For each image [H, W, 3] the `count` nearest training images, the nearest first.

        An image of just the model's size is taken as the model drew it; others pass its autoencoder first, as the
        training images did. What was taken down in the meantime is not found. Raises CatalogError, ModelError.
        """
        learned, view, whitening, calibration = self._parts()
        learned.refresh()
        learned.keep(view, whitening)
        own = (view.size, view.size)
        seen = [image if image.shape[:2] == own else view.drawn([image])[0] for image in images]
        found = []
        for near in learned.nearest(view, view.features(seen), whitening, count):
            credits = learned.credits([each.row for each in near])
            found.append(
                [
                    Found(
                        credit,
                        each.row.catalog,
                        round(1 - each.similarity, 4),
                        round(calibration.percentile(each.similarity), 2),
                        each.similarity > calibration.threshold,
                    )
                    for each, credit in zip(near, credits, strict=True)
                ]
            )
        return found

    def _parts(self) -> tuple[Learned, View, Whitening, Calibration]:
        if self._loaded is None:
            self.load()
        assert self._loaded is not None
        return self._loaded
