"""The figures: distances between sets of features, retrieval, the round trip through a captioner. No I/O here.

Shapes: N and M samples, D features.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from commoncanvas.evaluation.frechet import Gaussian, distance, in_span
from commoncanvas.models.similarity import Features, cosine_similarity

LEAST_SAMPLES = 2
"""A covariance needs two samples."""
# Similarities closer than this are a tie, because the last bits of a matrix product depend on the order of its rows.
TIE = 1e-7


def frechet_distance(features_1: Features, features_2: Features) -> float:
    """Fréchet distance of Gaussians fitted to features [N, D] and [M, D] (Heusel et al., arXiv 1706.08500,
    eq. 6).

    With few samples it is biased upwards, so compare it only with a baseline from as many samples. Raises ValueError
    below two samples.
    """
    x_ND, y_MD = in_span(*_pair(features_1, features_2, least=LEAST_SAMPLES))
    return distance(Gaussian.of(x_ND), Gaussian.of(y_MD))


def kernel_distance(
    features_1: Features, features_2: Features, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """MMD^2 under KID's kernel (x.y / D + 1)^3 (Bińkowski et al., arXiv 1801.01401), through torch-fidelity.

    Row i of both sets [N, D] belongs to the same prompt, so the sets are not independent. KID's estimator
    assumes that they are: it would give a copy a distance below zero. This is the U-statistic for pairs
    (Gretton et al., JMLR 13, 2012, eq. 4), which leaves pairs out: a copy has distance 0, and equal
    distributions have 0 on average. The result is the mean over `subsets` random subsets of `subset_size`, or
    one value from all rows if there are no more. Raises ValueError below two samples.
    """
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    x_ND, y_ND = _pair(features_1, features_2, least=LEAST_SAMPLES)
    if len(x_ND) != len(y_ND):
        raise ValueError(f"{x_ND.shape} and {y_ND.shape} must match row by row")
    random = np.random.default_rng(seed)
    whole = len(x_ND) <= subset_size
    rows = (
        [np.arange(len(x_ND))]
        if whole
        else [random.choice(len(x_ND), subset_size, replace=False) for _ in range(subsets)]
    )
    distances = [
        mmd2(kernel_poly(x, x), kernel_poly(x, y), kernel_poly(y, y), mmd_est="u-statistic")
        for x, y in ((x_ND[chosen], y_ND[chosen]) for chosen in rows)
    ]
    return float(np.mean(distances))


def retrieval_matches(
    generated_ND: Features, real_ND: Features, *, centred: bool = True
) -> NDArray[np.float64]:
    """A row for each generated image [N, N]: 1 at the real image that is nearest to it by cosine, else 0.

    `centred` first subtracts the mean of the real features from both sets, so that properties that all real
    images share (a white background, a style) don't count. If k images tie, each gets 1/k.
    """
    if generated_ND.shape != real_ND.shape:
        raise ValueError(
            f"generated {generated_ND.shape} and real features {real_ND.shape} must match row by row"
        )
    _pair(generated_ND, real_ND, least=1)
    mean = real_ND.mean(axis=0, dtype=np.float64) if centred else 0.0
    similarity = cosine_similarity(generated_ND - mean, real_ND - mean)
    nearest = similarity >= similarity.max(axis=1, keepdims=True) - TIE
    return np.asarray(nearest / nearest.sum(axis=1, keepdims=True), dtype=np.float64)


def permutation_p(scores_NN: NDArray[np.floating], *, shuffles: int = 9999, seed: int = 0) -> float:
    """How often chance does as well, by a one-sided permutation test. `scores_NN` has a score for each row and column;
    row i belongs to column i. The result is the share of shuffles of the columns whose diagonal has at least its sum.

    The given order counts as one of the shuffles, so the result is never 0 (Phipson and Smyth, SAGMB 9, 2010,
    arXiv 1603.05766).
    """
    random = np.random.default_rng(seed)
    rows = np.arange(len(scores_NN))
    least = scores_NN.trace() - TIE * len(rows)
    reached = sum(scores_NN[rows, random.permutation(rows)].sum() >= least for _ in range(shuffles))
    return float((1 + reached) / (1 + shuffles))


def retrieval_accuracy(generated_ND: Features, real_ND: Features, *, centred: bool = True) -> float:
    """Share of generated images whose nearest real image, by cosine, is their own prompt's; chance is 1/N."""
    return float(retrieval_matches(generated_ND, real_ND, centred=centred).diagonal().mean())


def wilson_interval(share: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share of `count` trials (Wilson, JASA 22, 1927)."""
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def _pair(a: Features, b: Features, least: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features must be [N, D] and [M, D], not {a.shape} and {b.shape}")
    if min(len(a), len(b)) < least:
        raise ValueError(f"at least {least} samples a set are needed, not {len(a)} and {len(b)}")
    return np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
