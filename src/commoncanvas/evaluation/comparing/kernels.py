"""Kernel distances: KID, KD, and CMMD. Pure. Shapes: N and M samples, D features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]
Kernel = Callable[[Features, Features], NDArray[np.float64]]

SUBSETS = 100
SUBSET = 1000
"""KID's subsets, as in its paper, clean-fid and torch-fidelity."""
ROWS = 1000
"""Rows of a kernel matrix in memory."""
CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0


def kid(a_ND: Features, b_MD: Features) -> float:
    """The unbiased MMD^2 under the kernel (x.y / D + 1)^3 (Binkowski et al., arXiv 1801.01401), by torch-fidelity: the
    mean over 100 random subsets of 1,000, or one value from all samples if both sets have equally many, and no more.
    """
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    size = min(SUBSET, len(a_ND), len(b_MD))
    subsets = 1 if len(a_ND) == len(b_MD) == size else SUBSETS
    sets = [torch.from_numpy(np.asarray(each)) for each in (a_ND, b_MD)]
    found = kid_features_to_metric(*sets, kid_subsets=subsets, kid_subset_size=size, verbose=False)
    return float(found[KEY_METRIC_KID_MEAN])


def cmmd(a_ND: Features, b_MD: Features) -> float:
    """CMMD (Jayasumana et al., arXiv 2401.09603): 1000 x the MMD^2 of unit vectors under a Gaussian kernel of sigma 10,
    by its own code's estimator, which has the pairs of a sample with itself.
    """
    a, b = unit(a_ND), unit(b_MD)
    parts = [np.mean(_row_sums(gaussian, x, y)) / len(y) for x, y in ((a, a), (b, b), (a, b))]
    return float(CMMD_SCALE * (parts[0] + parts[1] - 2 * parts[2]))


def influences(kernel: Kernel, a_ND: Features, b_MD: Features) -> list[NDArray[np.float64]]:
    """How much each sample of both sets moves the MMD^2, to first order: twice its mean kernel with the other samples
    of its set, minus twice that with the other set (Serfling, Approximation Theorems, 1980, 5.3).
    """
    found = []
    for x, y in ((a_ND, b_MD), (b_MD, a_ND)):
        itself = np.concatenate([np.diagonal(kernel(some, some)) for some in _pieces(x, ROWS)])
        own = (_row_sums(kernel, x, x) - itself) / max(1, len(x) - 1)
        found.append(2 * (own - _row_sums(kernel, x, y) / len(y)))
    return found


def polynomial(x_ND: Features, y_MD: Features) -> NDArray[np.float64]:
    """KID's kernel [N, M]."""
    return np.asarray((x_ND @ y_MD.T / x_ND.shape[1] + 1) ** 3, dtype=np.float64)


def gaussian(x_ND: Features, y_MD: Features) -> NDArray[np.float64]:
    """CMMD's kernel [N, M] of unit vectors."""
    squares = 2 - 2 * (x_ND @ y_MD.T)
    return np.asarray(np.exp(-squares / (2 * CMMD_SIGMA**2)), dtype=np.float64)


def unit(x_ND: Features) -> NDArray[np.float64]:
    x = np.asarray(x_ND, dtype=np.float64)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float64)


def _row_sums(kernel: Kernel, x_ND: Features, y_MD: Features) -> NDArray[np.float64]:
    return np.concatenate([kernel(some, y_MD).sum(axis=1) for some in _pieces(x_ND, ROWS)])


def _pieces(x_ND: Features, size: int) -> list[Features]:
    return [x_ND[start : start + size] for start in range(0, len(x_ND), size)]
