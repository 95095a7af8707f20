"""Whitened features: directions in which all images of a collection differ count less. Pure.

Jégou and Chum, "Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening" (ECCV
2012); SSCD (Pizzi et al., arXiv 2202.10261) compares copies in the same way.

Shapes: N images, D features, E whitened features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

DIMENSIONS = 256
IMAGES_A_DIMENSION = 4
"""Fewer images leave the smallest directions to chance."""


@dataclass(frozen=True)
class Whitening:
    """(x - mean) @ matrix, scaled to length 1: dot products are cosines."""

    mean_D: Vectors
    matrix_DE: Vectors

    @classmethod
    def fit(cls, features_ND: Vectors, dimensions: int = DIMENSIONS) -> Self:
        """Learn from at least two images. With few images there are fewer dimensions."""
        x = np.asarray(features_ND, np.float64)
        mean = x.mean(0)
        _, scales, directions = np.linalg.svd(x - mean, full_matrices=False)
        most = max(1, min(dimensions, len(x) // IMAGES_A_DIMENSION, int((scales > 1e-6 * scales[0]).sum())))
        matrix = directions[:most].T / np.maximum(scales[:most], np.finfo(np.float32).tiny)
        return cls(mean.astype(np.float32), (matrix * np.sqrt(len(x))).astype(np.float32))

    def __call__(self, features_ND: Vectors) -> Vectors:
        """[N, D] -> [N, E] of length 1."""
        x = (np.asarray(features_ND, np.float32) - self.mean_D) @ self.matrix_DE
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x / np.maximum(length, np.finfo(np.float32).tiny), np.float32)
