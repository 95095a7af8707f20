"""DINOv2 ViT-L/14 (Oquab et al., arXiv 2304.07193), for FD-DINOv2 and KD (Stein et al., arXiv 2306.04675). The network
is transformers'.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.networks.normal import IMAGENET, normalised
from commoncanvas.evaluation.networks.resize import stretched
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network

HUB = "facebook/dinov2-large"
SIZE = 224
RESIZE = "224x224 by Pillow's bicubic filter; ImageNet's mean and deviation"


class DinoV2(Network):
    """The class token after the last norm, as DINOv2's own code returns it."""

    def __init__(self, name: str, weights: str | None, device: torch.device) -> None:
        from transformers import Dinov2Model

        self._network = load_network(Dinov2Model, weights or HUB, name).to(device)
        self.dimension = self._network.config.hidden_size
        super().__init__(name, weights_sha256(self._network), RESIZE, device)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return normalised(stretched(image, SIZE, Image.Resampling.BICUBIC), IMAGENET)

    def forward(self, batch: Tensor) -> Tensor:
        token: Tensor = self._network(pixel_values=batch).pooler_output
        return token
