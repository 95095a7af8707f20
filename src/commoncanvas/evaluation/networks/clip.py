"""CLIP (Radford et al., arXiv 2103.00020): ViT-B/32 for CLIP-FID and the CLIP score, ViT-L/14 at 336 pixels for CMMD.
The network is transformers'. Shapes: N texts, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.networks.normal import CLIP, normalised
from commoncanvas.evaluation.networks.resize import shortest
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network, load_tokenizer

HUB = {
    "clip-vit-b-32": ("openai/clip-vit-base-patch32", 224),
    "clip-vit-l-14-336": ("openai/clip-vit-large-patch14-336", 336),
}
"""Name -> the default hub id, and the side of its images."""
TEXTS = 64
"""Texts that are embedded at once."""


class Clip(Network):
    """The projected embedding of an image, not normalised, as `encode_image` of OpenAI's code returns it."""

    def __init__(self, name: str, weights: str | None, device: torch.device) -> None:
        from transformers import CLIPVisionModelWithProjection

        default, self.size = HUB[name]
        self._model = weights or default
        self._vision = load_network(CLIPVisionModelWithProjection, self._model, name).to(device)
        config = self._vision.config
        if config.image_size != self.size:
            raise ModelError(
                f"{self._model} takes images of {config.image_size} pixels; {name} takes {self.size}"
            )
        self.dimension = config.projection_dim
        resize = f"shortest side {self.size} by Pillow's bicubic filter, the centre cut out; CLIP's mean and deviation"
        super().__init__(name, weights_sha256(self._vision), resize, device)

    def prepare(self, image: NDArray[np.uint8]) -> Tensor:
        return normalised(shortest(image, self.size), CLIP)

    def forward(self, batch: Tensor) -> Tensor:
        embeddings: Tensor = self._vision(pixel_values=batch).image_embeds
        return embeddings

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> their embeddings [N, D], in the same space. Longer texts are cut at 77 tokens. Raises ModelError."""
        network, tokenizer = self._text
        found = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(texts), TEXTS):
            some = list(texts[start : start + TEXTS])
            length = network.config.max_position_embeddings
            tokens = tokenizer(some, padding=True, truncation=True, max_length=length, return_tensors="pt")
            embedded = network(
                input_ids=tokens.input_ids.to(self.device), attention_mask=tokens.attention_mask
            )
            found.append(embedded.text_embeds.float().cpu().numpy())
        return np.concatenate(found)

    @cached_property
    def _text(self) -> tuple[Any, Any]:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizer

        network = load_network(CLIPTextModelWithProjection, self._model, self.name).to(self.device)
        return network, load_tokenizer(CLIPTokenizer, self._model, self.name)
