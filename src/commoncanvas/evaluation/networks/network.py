"""The protocol of a feature network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FeatureNetwork(Protocol):
    """Images -> features. `sha256` is the digest of the weights; `resize` says how images are resized."""

    name: str
    sha256: str
    resize: str

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """RGB images [H, W, 3], whose sizes may differ -> [N, D]."""
