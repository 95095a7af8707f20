"""Load a feature network by name."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.networks.network import FeatureNetwork
from commoncanvas.models import efficientnet
from commoncanvas.models.devices import pick_device
from commoncanvas.models.image_features import fill
from commoncanvas.provenance.folder import file_sha256

EFFICIENTNET = "efficientnet-lite0"
BATCH = 32


class EfficientNetFeatures:
    """Pooled features [N, 1280] of EfficientNet-Lite0. An image's features don't depend on its batch."""

    name = EFFICIENTNET
    resize = "224 x 224, bilinear, antialiased, by torch"

    def __init__(self, device: str = "auto") -> None:
        self.sha256 = file_sha256(efficientnet.weights_path())
        self.device = pick_device(device)
        self.network = efficientnet.load().to(self.device)

    @torch.no_grad()
    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        parts = [np.empty((0, efficientnet.FEATURES), np.float32)]
        for _, alike in groupby(images, key=lambda image: image.shape):
            group = list(alike)
            for start in range(0, len(group), BATCH):
                some = group[start : start + BATCH]
                pixels = fill(torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2), BATCH)
                parts.append(self.network(pixels.to(self.device))[: len(some)].cpu().numpy())
        return np.concatenate(parts)


def load_network(spec: str = EFFICIENTNET, device: str = "auto") -> FeatureNetwork:
    """The network `name` or `name:file-or-hub-id`. Raises ModelError."""
    if spec != EFFICIENTNET:
        raise ModelError(f"feature network {spec!r} is not known; use {EFFICIENTNET}")
    return EfficientNetFeatures(device)
