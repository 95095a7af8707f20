"""Win rates with Wilson's intervals, made for votes that share prompts and raters. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.statistics.clusters import clustered

LEVEL = 0.95


@dataclass(frozen=True)
class WinRate:
    """A share of votes won, ties counted half, and its interval for a number of votes that was fixed beforehand."""

    votes: int
    wins: int
    losses: int
    ties: int
    rate: float | None
    low: float
    high: float
    effective_votes: float
    """Independent votes without ties that would give an interval as wide."""


def win_rate(
    votes: NDArray[np.float64], clusters: Sequence[NDArray[np.intp]], level: float = LEVEL
) -> WinRate:
    """The win rate of `votes` [N], each 1, 0.5 or 0; `clusters`: arrays [N] of numbers.

    Wilson (1927), doi 10.1080/01621459.1927.10502953, with the effective number of votes in place of N: p(1-p)
    divided by the clustered variance, as for surveys (Franco et al. 2019, doi 10.1093/jssam/smy019), and Student's
    quantile. So ties make the interval narrower, and repeated prompts and raters make it wider.
    """
    count = len(votes)
    wins, losses = int((votes == 1).sum()), int((votes == 0).sum())
    if not count:
        return WinRate(0, 0, 0, 0, None, 0.0, 1.0, 0.0)
    rate = float(votes.mean())
    variance, freedom = _variance(votes, clusters)
    # Two wins and two losses more, so that unanimous votes have a variance too (Agresti, Coull 1998).
    near = (count * rate + 2) / (count + 4)
    least = (((votes - near) ** 2).sum() + 2 * (1 - near) ** 2 + 2 * near**2) / (count + 4) ** 2
    effective = near * (1 - near) / max(variance, least)
    low, high = wilson(rate, effective, quantile(level, freedom))
    return WinRate(count, wins, losses, count - wins - losses, rate, low, high, float(effective))


def _variance(votes: NDArray[np.float64], clusters: Sequence[NDArray[np.intp]]) -> tuple[float, float]:
    if len(votes) < 2:
        return 0.0, 1.0
    residuals = (votes - votes.mean())[:, None]
    found = clustered(residuals, np.ones((len(votes), 1, 1)), [way for way in clusters if way.max() > 0])
    return found.variance(np.ones(1))


def wilson(rate: float, votes: float, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    middle = (rate + z * z / (2 * votes)) / (1 + z * z / votes)
    reach = z * math.sqrt(rate * (1 - rate) / votes + (z / (2 * votes)) ** 2) / (1 + z * z / votes)
    return max(float(middle - reach), 0.0), min(float(middle + reach), 1.0)


def quantile(level: float, freedom: float) -> float:
    """Student's two-sided quantile."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))
