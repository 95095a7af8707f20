"""Strengths of models from votes on pairs: Bradley-Terry with ties after Davidson. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.statistics.clusters import Covariance, clustered

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

PRIOR_DEVIATION = 3.0
"""Standard deviation of a normal prior on each strength: it keeps a model that lost every vote at a finite place, and
moves others by less than a hundredth of their interval."""
STEPS = 100


@dataclass(frozen=True)
class Fit:
    """`strengths` [K] (log odds, mean 0), `tie` (log of Davidson's nu), and the covariance of both together."""

    strengths: Floats
    tie: float
    covariance: Covariance

    def difference(self, first: int, second: int) -> tuple[float, float, float]:
        """Strength of `first` minus that of `second`, its standard error, and the degrees of freedom."""
        contrast = np.zeros(len(self.strengths) + 1)
        contrast[first] += 1
        contrast[second] -= 1
        return self._of(contrast)

    def strength(self, model: int) -> tuple[float, float, float]:
        """Strength of a model above the mean of all, its standard error, and the degrees of freedom."""
        models = len(self.strengths)
        contrast = np.r_[np.full(models, -1 / models), 0.0]
        contrast[model] += 1
        return self._of(contrast)

    def score(self, model: int) -> tuple[float, float, float]:
        """Expected share of votes (ties half) against the other models on average, with standard error and freedom."""
        others = [other for other in range(len(self.strengths)) if other != model]
        slopes = np.zeros(len(self.strengths) + 1)
        shares = []
        for other in others:
            win, tie, _ = probabilities(np.array(self.strengths[model] - self.strengths[other]), self.tie)
            share = win + tie / 2
            slope = (win + (1 - win - tie) - (2 * share - 1) ** 2) / 4
            shares.append(float(share))
            slopes[model] += slope * 1.0
            slopes[other] -= slope * 1.0
            slopes[-1] += tie * (1 - tie) / 2 - win * tie
        _, error, freedom = self._of(slopes / len(others))
        return float(np.mean(shares)), error, freedom

    def _of(self, contrast: Floats) -> tuple[float, float, float]:
        variance, freedom = self.covariance.variance(contrast)
        return (
            float(contrast[:-1] @ self.strengths + contrast[-1] * self.tie),
            float(np.sqrt(variance)),
            freedom,
        )


def probabilities(difference: Floats, tie: float) -> tuple[Floats, Floats, Floats]:
    """P(first wins), P(tie), P(second wins) for a `difference` of strengths.

    Davidson (1970), doi 10.1080/01621459.1970.10481082: they are as exp(d/2), nu, exp(-d/2).
    """
    logits = np.stack([difference / 2, np.full_like(difference, tie), -difference / 2])
    odds = np.exp(logits - logits.max(0))
    win, draw, loss = odds / odds.sum(0)
    return win, draw, loss


def fit(
    first: Indices,
    second: Indices,
    votes: Floats,
    models: int,
    clusters: Sequence[Indices],
    weights: Floats | None = None,
) -> Fit:
    """Fit `models` strengths to `votes` [N] (1: `first` won, 0.5: tie, 0: `second` won), by Newton's method.

    The covariance is a sandwich, with prompts and raters as clusters: it needs neither that votes are independent nor
    that the model is true.
    """
    weights = np.ones(len(votes)) if weights is None else weights
    design = np.zeros((len(votes), models))
    rows = np.arange(len(votes))
    design[rows, first] = 0.5
    design[rows, second] = -0.5
    outcome, draw = 2 * votes - 1, (votes == 0.5).astype(float)
    prior = np.full(models + 1, PRIOR_DEVIATION**-2)
    values = np.zeros(models + 1)
    for _ in range(STEPS):
        scores, information = _derivatives(values, design, outcome, draw)
        gradient = weights @ scores - prior * values
        step = np.linalg.solve(np.tensordot(weights, information, 1) + np.diag(prior), gradient)
        values = values + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-9))
        if np.abs(step).max() < 1e-9:
            break
    scores, information = _derivatives(values, design, outcome, draw)
    spread = np.diag(prior) / max(len(votes), 1)
    covariance = clustered(scores, information + spread, [way for way in clusters if way.max(initial=0) > 0])
    return Fit(values[:-1], float(values[-1]), covariance)


def _derivatives(values: Floats, design: Floats, outcome: Floats, draw: Floats) -> tuple[Floats, Floats]:
    """Gradient [N, K + 1] and negative second derivative [N, K + 1, K + 1] of each vote's log-likelihood."""
    win, tie, loss = probabilities(2 * (design @ values[:-1]), float(values[-1]))
    lead = win - loss
    scores = np.column_stack([design * (outcome - lead)[:, None], draw - tie])
    curve = win + loss - lead**2
    information = np.empty((len(draw), len(values), len(values)))
    information[:, :-1, :-1] = curve[:, None, None] * design[:, :, None] * design[:, None, :]
    information[:, :-1, -1] = information[:, -1, :-1] = (-lead * tie)[:, None] * design
    information[:, -1, -1] = tie * (1 - tie)
    return scores, information
