"""The colour of an object, by CLIP: which colour's texts are nearest to the crop of its box (GenEval, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from commoncanvas.evaluation.scorers.clip import Embeds
from commoncanvas.evaluation.scorers.composition import Found

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
TEXTS = (
    "a photo of a {colour} {name}",
    "a photo of a {colour}-colored {name}",
    "a photo of a {colour} object",
)


class ColourNames:
    """Names colours. GenEval's own cuts the object out along its mask; open-vocabulary detectors have only boxes."""

    def __init__(self, clip: Embeds) -> None:
        self._clip = clip
        self._of = lru_cache(None)(self._texts)

    def settings(self) -> dict[str, Any]:
        own = self._clip.info("clip", {})
        return {"clip": own.name.partition(":")[2], "sha256": own.sha256, "texts": list(TEXTS), "crop": "box"}

    def __call__(self, image: NDArray[np.uint8], name: str, objects: Sequence[Found]) -> list[str]:
        """The colour of each object in image uint8 [H, W, 3]."""
        crops = [_crop(image, each) for each in objects]
        nearest = (self._clip.images(crops) @ self._of(name).T).argmax(-1)
        return [COLOURS[place] for place in nearest.tolist()]

    def _texts(self, name: str) -> Tensor:
        """Unit vectors [colours, D], each the mean of its texts."""
        texts = [text.format(colour=colour, name=name) for colour in COLOURS for text in TEXTS]
        vectors, _ = self._clip.texts(texts)
        return normalize(vectors.reshape(len(COLOURS), len(TEXTS), -1).mean(1), dim=-1)


def _crop(image: NDArray[np.uint8], found: Found) -> NDArray[np.uint8]:
    left, top, right, bottom = (round(side) for side in found.box)
    height, width = image.shape[:2]
    left, top = min(left, width - 1), min(top, height - 1)
    return np.ascontiguousarray(image[top : max(bottom, top + 1), left : max(right, left + 1)])
