"""The Fréchet distance between two sets of features: FID on InceptionV3's, FD-DINOv2 on DINOv2's, and so on. Pure.

Shapes: N and M samples, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
LEAST_EIGENVALUE = 1e-10
"""Smaller eigenvalues, relative to the largest, are rounding errors: none is inverted."""
EXTRAPOLATED = 15
"""Sample sizes that the extrapolation is fitted to, as in the paper."""
SMALLEST_SHARE = 0.1


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and covariance [D, D] of a set of features, and the number of samples if it is known."""

    mean: Matrix
    covariance: Matrix
    count: int | None = None

    @classmethod
    def of(cls, features_ND: NDArray[np.floating]) -> Gaussian:
        x = np.asarray(features_ND, dtype=np.float64)
        return cls(x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False)), len(x))


def in_span(
    x_ND: NDArray[np.floating], y_MD: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both sets in coordinates of the span of all samples, if N + M < D. A rotation changes no distance, and fewer
    dimensions are faster.
    """
    if len(x_ND) + len(y_MD) >= x_ND.shape[1]:
        return x_ND, y_MD
    basis, _ = np.linalg.qr(np.concatenate([x_ND, y_MD]).T.astype(np.float64))
    return x_ND @ basis, y_MD @ basis


def distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al., arXiv 1706.08500, eq. 6)."""
    return _Against(b).distance(a)


def influences(a: Gaussian, b: Gaussian, features: Sequence[NDArray[np.floating] | None]) -> list[Matrix]:
    """How much each sample moves the distance, to first order, for the features of `a` and of `b`; None: not known.

    The distance's derivatives by the means are +-2 (m_a - m_b), and by the covariances I - T and I - T^-1, with the
    optimal map T = C_b^(1/2) (C_b^(1/2) C_a C_b^(1/2))^(-1/2) C_b^(1/2) between the Gaussians (Takatsu, Osaka J. Math.
    48, 2011). The mean of the values of one set is 0.
    """
    root, back = _powers(b.covariance, 0.5, -0.5)
    middle, inverse = _powers(root @ a.covariance @ root, 0.5, -0.5)
    shift, same = 2 * (a.mean - b.mean), np.eye(len(a.mean))
    slopes = ((a, shift, same - root @ inverse @ root), (b, -shift, same - back @ middle @ back))
    found = []
    for (side, by_mean, by_covariance), x_ND in zip(slopes, features, strict=True):
        if x_ND is not None:
            centred = x_ND - side.mean
            moved = centred @ by_mean + np.einsum("nd,nd->n", centred @ by_covariance, centred)
            found.append(moved - moved.mean())
    return found


def at_infinity(features_ND: NDArray[np.floating], reference: Gaussian, seed: int = 0) -> float:
    """The distance extrapolated to infinitely many samples (Chong and Forsyth, arXiv 1911.07023): the intercept of a
    line through distances of random subsets against 1 / their size. The reference stays as it is.
    """
    random, against = np.random.default_rng(seed), _Against(reference)
    count = len(features_ND)
    sizes = np.linspace(max(2, int(count * SMALLEST_SHARE)), count, EXTRAPOLATED).astype(int)
    found = [
        against.distance(Gaussian.of(features_ND[random.choice(count, size, replace=False)]))
        for size in sizes
    ]
    return float(np.polyfit(1 / sizes, found, 1)[1])


class _Against:
    """Distances to one Gaussian: the root of its covariance is computed once."""

    def __init__(self, reference: Gaussian) -> None:
        self.reference = reference
        (self.root,) = _powers(reference.covariance, 0.5)

    def distance(self, a: Gaussian) -> float:
        b = self.reference
        difference = a.mean - b.mean
        # C_a C_b has the eigenvalues of this symmetric matrix.
        eigenvalues = np.linalg.eigvalsh(self.root @ a.covariance @ self.root)
        shared = np.sqrt(eigenvalues.clip(0)).sum()
        traces = np.trace(a.covariance) + np.trace(b.covariance)
        return float(difference @ difference + traces - 2 * shared)


def _powers(symmetric: Matrix, *exponents: float) -> list[Matrix]:
    """Powers of a positive semidefinite matrix [D, D]. Directions without variance stay 0 for all exponents."""
    eigenvalues, vectors = np.linalg.eigh(symmetric)
    kept = eigenvalues > LEAST_EIGENVALUE * max(eigenvalues[-1], np.finfo(float).tiny)
    positive, directions = eigenvalues[kept], vectors[:, kept]
    return [(directions * positive**exponent) @ directions.T for exponent in exponents]
