"""Cosines between rows of two matrices, and the CLIP score. Shapes: N and M rows, D features."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Features = NDArray[np.floating]


def cosine_similarity(a_ND: Features, b_MD: Features) -> NDArray[np.float64]:
    """Cosines [N, M] of the rows of a with the rows of b; a zero row has cosine 0 with everything."""
    return np.asarray(_unit(a_ND) @ _unit(b_MD).T, dtype=np.float64)


def matched_and_shuffled(a_ND: Features, b_ND: Features) -> tuple[float, float]:
    """Mean cosine of row i of a with row i of b, and with a row of b that is not i.

    The second is the baseline: the mean over all such pairs, which is the average over shuffles that separate all
    pairs. So it needs no seed. It is NaN for a single row. Raises ValueError if the shapes differ.
    """
    if a_ND.shape != b_ND.shape:
        raise ValueError(f"{a_ND.shape} and {b_ND.shape} must match row by row")
    a, b = _unit(a_ND), _unit(b_ND)
    count = len(a)
    matched = float((a * b).sum())
    shuffled = (float(a.sum(0) @ b.sum(0)) - matched) / (count * (count - 1)) if count > 1 else math.nan
    return matched / count, shuffled


def clip_score(cosines: ArrayLike) -> NDArray[np.float64]:
    """CLIP scores from the cosines of images with their texts: max(100 * cosine, 0), as torchmetrics and papers on
    text-to-image models have it. Hessel et al. (arXiv 2104.08718) have 2.5 in place of 100.
    """
    return np.asarray(100 * np.maximum(cosines, 0), dtype=np.float64)


def _unit(x_ND: Features) -> NDArray[np.float64]:
    x = np.asarray(x_ND, dtype=np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    return unit
