"""How well captions fit their images, by CLIP (open_clip's models, from a folder, the hub, or by open_clip's names)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.device import pick_device
from commoncanvas.errors import MissingExtraError, ModelError

BATCH = 32


class ClipModel:
    """Embeds images and texts into one space."""

    def __init__(self, model: str, pretrained: str | None = None, device: str = "auto") -> None:
        """`model`: a folder with open_clip_config.json and weights, `hf-hub:...`, or one of open_clip's names, with
        the `pretrained` tag of its weights. Raises MissingExtraError, ModelError.
        """
        try:
            import open_clip
        except ImportError as error:
            raise MissingExtraError(
                "the CLIP score needs open_clip; pip install 'commoncanvas[clip]'"
            ) from error
        name = f"local-dir:{Path(model).absolute()}" if Path(model).is_dir() else model
        if ":" not in name and pretrained is None:
            raise ModelError(
                f"CLIP model {model} is no folder; give one, hf-hub:..., or also --clip-pretrained"
            )
        try:
            self._network, _, self._transform = open_clip.create_model_and_transforms(
                name, pretrained=pretrained, weights_only=True
            )
            self._tokenizer: Any = open_clip.get_tokenizer(name)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"CLIP model {model} can't be loaded: {' '.join(str(error).split())[:300]}"
            ) from error
        self._device = pick_device(device)
        self._network.to(self._device).eval()

    @torch.no_grad()
    def images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """uint8 [H, W, 3] each -> unit vectors [N, D]."""
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = [self._transform(Image.fromarray(image)) for image in images[start : start + BATCH]]
            parts.append(self._network.encode_image(torch.stack(pixels).to(self._device), normalize=True))
        return _joined(parts)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> unit vectors [N, D]."""
        parts = []
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenizer(list(texts[start : start + BATCH])).to(self._device)
            parts.append(self._network.encode_text(tokens, normalize=True))
        return _joined(parts)


def _joined(parts: Sequence[torch.Tensor]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = torch.cat(list(parts)).float().cpu().numpy()
    return joined
