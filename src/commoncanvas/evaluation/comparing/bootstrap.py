"""Confidence intervals by bootstrap, from how much each sample moves a figure. Pure.

A figure of N samples is, to first order, its limit plus the mean of the samples' influences (von Mises, 1947; Efron,
"The jackknife, the bootstrap and other resampling plans", 1982, chapter 6). Resampling these means is as fast for a
Fréchet distance as for a mean. Resampled images would be counted twice, which raises a Fréchet distance by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000


def interval(
    value: float,
    influences: Sequence[NDArray[np.floating]],
    bounds: tuple[float, float] = (-np.inf, np.inf),
    seed: int = 0,
) -> tuple[float, float]:
    """95 % bootstrap interval of `value`. `influences`: for each independent set of samples, each one's influence [N].

    It covers the choice of the samples. It does not cover a bias with the sample count, as that of FID.
    """
    random = np.random.default_rng(seed)
    moved = np.zeros(RESAMPLES)
    for each in influences:
        # The mean of a resample, by how often each sample is in it, in pieces of bounded memory.
        for start in range(0, RESAMPLES, 100):
            counts = random.multinomial(len(each), np.full(len(each), 1 / len(each)), size=100)
            moved[start : start + 100] += counts @ (each - each.mean()) / len(each)
    tail = (1 - LEVEL) / 2
    low, high = value - np.quantile(moved, 1 - tail), value - np.quantile(moved, tail)
    return float(max(low, bounds[0])), float(min(high, bounds[1]))
