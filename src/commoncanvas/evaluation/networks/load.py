"""Load a feature network by name."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.features import EXTRACTOR, RESIZE, Extractor
from commoncanvas.evaluation.networks.network import FeatureNetwork
from commoncanvas.models.devices import pick_device
from commoncanvas.models.efficientnet import weights_path
from commoncanvas.provenance.folder import file_sha256


class EfficientNetFeatures:
    name = EXTRACTOR
    resize = RESIZE

    def __init__(self, device: str = "auto") -> None:
        self.sha256 = file_sha256(weights_path())
        self._extractor = Extractor(pick_device(device))

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        parts = [
            self._extractor(np.stack([*alike])) for _, alike in groupby(images, key=lambda image: image.shape)
        ]
        return np.concatenate(parts)


def load_network(spec: str = EXTRACTOR, device: str = "auto") -> FeatureNetwork:
    """The network `name` or `name:file-or-hub-id`. Raises ModelError."""
    if spec != EXTRACTOR:
        raise ModelError(f"feature network {spec!r} is not known; use {EXTRACTOR}")
    return EfficientNetFeatures(device)
