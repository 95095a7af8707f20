"""The figures of one setting: distances to the reference, and mean scores. No I/O here.

Shapes: N drawn and M real images, D features.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation import metrics
from commoncanvas.evaluation.sweeps.reference import Statistics
from commoncanvas.models.similarity import Features, cosine_similarity

LEAST = 2
SUBSETS, SUBSET = 100, 1000
"""Random subsets of KID, and their size (Bińkowski et al., arXiv 1801.01401)."""


def frechet(drawn_ND: Features, reference: Statistics | Features) -> float:
    """Fréchet distance (Heusel et al., arXiv 1706.08500, eq. 6), by torch-fidelity. Raises EvaluationError."""
    if not isinstance(reference, Statistics):
        return metrics.frechet_distance(drawn_ND, reference)
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    if drawn_ND.shape[1] != len(reference.mean):
        raise EvaluationError(
            f"reference {reference.name} has statistics of {len(reference.mean)} features, the network has "
            f"{drawn_ND.shape[1]}; give the file that belongs to the network"
        )
    drawn = fid_features_to_statistics(torch.from_numpy(np.asarray(drawn_ND, np.float64)))
    real = {"mu": reference.mean, "sigma": reference.covariance}
    return float(fid_statistics_to_metric(drawn, real, verbose=False)[KEY_METRIC_FID])


def kernel(drawn_ND: Features, real_MD: Features, paired: bool, seed: int = 0) -> float:
    """MMD^2 under KID's kernel, unbiased: the mean over random subsets. `paired`: row i of both is of one prompt, see
    `metrics.kernel_distance`.
    """
    if paired:
        return metrics.kernel_distance(drawn_ND, real_MD, seed=seed)
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    random = np.random.default_rng(seed)
    size = min(SUBSET, len(drawn_ND), len(real_MD))
    times = 1 if size == len(drawn_ND) == len(real_MD) else SUBSETS
    found = []
    for _ in range(times):
        x, y = (
            np.asarray(each[random.choice(len(each), size, replace=False)], np.float64)
            for each in (drawn_ND, real_MD)
        )
        found.append(mmd2(kernel_poly(x, x), kernel_poly(x, y), kernel_poly(y, y), mmd_est="unbiased"))
    return float(np.mean(found))


def mean_score(scores_N: NDArray[np.floating], prompts: int) -> tuple[float, float | None, float | None]:
    """The mean, and its 95 % confidence interval: the images of one prompt count as one observation. The images are in
    the order of the prompts, all again for each further image.
    """
    means = np.asarray(scores_N, np.float64).reshape(-1, prompts).mean(0)
    mean = float(means.mean())
    if len(means) < LEAST:
        return mean, None, None
    half = 1.96 * float(means.std(ddof=1)) / math.sqrt(len(means))
    return mean, mean - half, mean + half


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
