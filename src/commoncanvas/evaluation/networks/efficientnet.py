"""EfficientNet-Lite0, the default: its weights are a pip package. Distances on its features can only be compared with
each other. They are neither FID nor KID, which are defined on InceptionV3.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.models import efficientnet
from commoncanvas.provenance.digests import file_sha256

RESIZE = "224x224 by torch's bilinear filter, antialiased; (pixels - 127) / 128"


class EfficientNetLite0(Network):
    """Pooled features [N, 1280] of the ImageNet-trained network."""

    dimension = efficientnet.FEATURES

    def __init__(self, name: str, weights: str | None, device: torch.device) -> None:
        if weights is not None:
            raise ModelError(f"{name} takes no weights: they are a pip package; give {name} alone")
        self.network = efficientnet.load().to(device)
        super().__init__(name, file_sha256(efficientnet.weights_path()), RESIZE, device)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return efficientnet.resized(torch.tensor(image).permute(2, 0, 1)[None])[0]

    def forward(self, batch: Tensor) -> Tensor:
        features: Tensor = self.network(batch)
        return features
