"""CLIP (Radford et al., arXiv 2103.00020): ViT-B/32 for CLIP-FID, ViT-L/14 at 336 pixels for CMMD.
The network is transformers'. The CLIP score is one of the scorers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.networks.normal import CLIP, normalised
from commoncanvas.evaluation.networks.resize import shortest
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network

HUB = {
    "clip-vit-b-32": ("openai/clip-vit-base-patch32", 224),
    "clip-vit-l-14-336": ("openai/clip-vit-large-patch14-336", 336),
}
"""Name -> the default hub id, and the side of its images."""


class Clip(Network):
    """The projected embedding of an image, not normalised, as `encode_image` of OpenAI's code returns it."""

    def __init__(self, name: str, weights: str | None, device: torch.device) -> None:
        from transformers import CLIPVisionModelWithProjection

        default, self.size = HUB[name]
        model = weights or default
        self._vision = load_network(CLIPVisionModelWithProjection, model, name).to(device)
        config = self._vision.config
        if config.image_size != self.size:
            raise ModelError(f"{model} takes images of {config.image_size} pixels; {name} takes {self.size}")
        self.dimension = config.projection_dim
        resize = f"shortest side {self.size} by Pillow's bicubic filter, the centre cut out; CLIP's mean and deviation"
        super().__init__(name, weights_sha256(self._vision), resize, device)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return normalised(shortest(image, self.size), CLIP)

    def forward(self, batch: Tensor) -> Tensor:
        embeddings: Tensor = self._vision(pixel_values=batch).image_embeds
        return embeddings
