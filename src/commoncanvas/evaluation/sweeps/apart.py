"""How far models are apart. No I/O here.

Shapes: N drawn images, D features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commoncanvas.models.similarity import Features, cosine_similarity


def apart(models: list[list[Features]]) -> NDArray[np.float64]:
    """How far the models' images of each prompt are apart [N]: the cosine distance of their features [N, D], the mean
    over all pairs of models and over the settings that all models have. `models`: the features of each setting.
    """
    found = []
    for number, one in enumerate(models):
        for other in models[number + 1 :]:
            found += [1 - _rowwise(a, b) for a, b in zip(one, other, strict=True)]
    return np.asarray(np.mean(found, axis=0), np.float64)


def _rowwise(a_ND: Features, b_ND: Features) -> NDArray[np.float64]:
    """Cosine of row i with row i."""
    centre = (a_ND.mean(0) + b_ND.mean(0)) / 2
    return np.array(
        [cosine_similarity(a[None] - centre, b[None] - centre)[0, 0] for a, b in zip(a_ND, b_ND, strict=True)]
    )
