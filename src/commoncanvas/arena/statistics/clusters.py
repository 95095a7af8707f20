"""Variances of estimates from votes that share prompts and raters. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Covariance(NamedTuple):
    """`matrix` [K, K] of the K estimates, and how many degrees of freedom stand behind it for each of them."""

    matrix: Floats
    parts: tuple[tuple[float, Floats, Floats], ...]
    """(sign, matrix [K, K], bread times share of each cluster [G, K, K]) of each term."""

    def variance(self, contrast: Floats) -> tuple[float, float]:
        """Variance of `contrast` [K] @ estimates, and its degrees of freedom (Satterthwaite).

        The variance is that of the two-way formula, and never less than that of one way alone: with few clusters the
        two-way formula can become too small, even negative (MacKinnon, Nielsen, Webb 2021,
        doi 10.1080/07350015.2019.1677473).
        """
        terms = [(sign, float(contrast @ matrix @ contrast)) for sign, matrix, _ in self.parts]
        freedoms = [self._freedom(shares, contrast) for _, _, shares in self.parts]
        total = max(
            sum(sign * value for sign, value in terms), *(value for sign, value in terms if sign > 0), 0.0
        )
        if not total:
            return 0.0, min(freedoms)
        spread = sum(value**2 / freedom for (_, value), freedom in zip(terms, freedoms, strict=True))
        return total, max(total**2 / spread, 1.0)

    def _freedom(self, shares: Floats, contrast: Floats) -> float:
        """Effective number of clusters for a contrast, less one: 1 / sum of squared shares of the information."""
        weights = np.einsum("k,gkl,l->g", contrast, shares, contrast)
        weights = weights / weights.sum()
        return max(float(1 / (weights**2).sum()) - 1, 1.0)


def clustered(scores: Floats, information: Floats, clusters: Sequence[Indices]) -> Covariance:
    """The sandwich covariance of an estimate with several crossed ways of clusters.

    `scores` [N, K]: each vote's gradient of the log-likelihood. `information` [N, K, K]: its negative second
    derivative. `clusters`: one or two arrays [N] of cluster numbers; none: votes are independent.
    The sum over one way of clusters, plus the other's, minus that over what they share (Cameron, Gelbach, Miller 2011,
    doi 10.1198/jbes.2010.07136). Each term has the bias-reduced correction CR2 of Bell and McCaffrey (2002), in the
    scores' space: a cluster's score is multiplied by (1 - leverage)^(-1/2).
    """
    total = information.sum(0)
    inverse = np.linalg.inv(total)
    root = _power(total, -0.5)
    ways = [(1.0, way) for way in clusters] if clusters else [(1.0, np.arange(len(scores)))]
    if len(clusters) > 1:
        ways.append((-1.0, shared(clusters)))
    parts = []
    for sign, way in ways:
        count = int(way.max()) + 1
        sums = np.zeros((count, scores.shape[1]))
        held = np.zeros((count, *total.shape))
        np.add.at(sums, way, scores)
        np.add.at(held, way, information)
        leverage = root @ held @ root
        adjusted = np.einsum("gkl,gl->gk", _shrunk(leverage), sums @ root) @ root
        parts.append((sign, adjusted.T @ adjusted, inverse @ held @ inverse))
    matrix = np.sum([sign * part for sign, part, _ in parts], axis=0)
    return Covariance(matrix, tuple(parts))


def shared(clusters: Sequence[Indices]) -> Indices:
    """Numbers of the groups of votes that are in one cluster in every way, such as one rater's on one prompt."""
    return np.unique(np.stack(clusters), axis=1, return_inverse=True)[1].astype(np.intp)


def _power(symmetric: Floats, power: float) -> Floats:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** power) @ vectors.T)


def _shrunk(leverage: Floats) -> Floats:
    """(I - leverage)^(-1/2) of each matrix; a cluster that alone decides an estimate can't be corrected."""
    values, vectors = np.linalg.eigh(leverage)
    scale = np.maximum(1 - values, 1e-3) ** -0.5
    return np.asarray((vectors * scale[:, None, :]) @ np.swapaxes(vectors, 1, 2))
