"""Means with 95 % intervals, where images of one prompt belong together. Pure.

Shapes: N values, G groups (prompts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from commoncanvas.evaluation.metrics import wilson_interval

LEVEL = 0.95
TINY = 1e-12
"""A smaller variance is rounding: all values are the same."""


class Estimate(NamedTuple):
    """A mean, its interval (None with a single prompt), and how many values and prompts it is of."""

    mean: float
    low: float | None
    high: float | None
    values: int
    prompts: int


def estimate(values: Sequence[float], groups: Sequence[str], share: bool) -> Estimate:
    """The mean of N `values`, with an interval that holds when values of one group are alike.

    The variance of the mean is that of a ratio over groups as clusters (Cochran, Sampling Techniques, 1977, section
    9.3, and eq. 6.9). `share`: values lie between 0 and 1; then the interval is Wilson's with the effective number of
    values (Dean and Pagano, Journal of Survey Statistics and Methodology 3, 2015), so that it stays in that range, and
    is not empty if all values are the same. Else it is Student's with G - 1 degrees of freedom. Raises ValueError
    without values.
    """
    if not values:
        raise ValueError("no values")
    y = np.asarray(values, dtype=np.float64)
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    mean, count = float(y.mean()), len(names)
    if count < 2:
        return Estimate(mean, None, None, len(y), count)
    residuals = np.bincount(place, weights=y - mean, minlength=count)
    variance = count / (count - 1) * float(residuals @ residuals) / len(y) ** 2
    if not share:
        half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * math.sqrt(variance)
        return Estimate(mean, mean - half, mean + half, len(y), count)
    z = float(student.ppf((1 + LEVEL) / 2, count - 1))
    spread = mean * (1 - mean)
    effective = spread / variance if variance > TINY and spread > TINY else count
    low, high = wilson_interval(mean, effective, z)
    return Estimate(mean, min(low, mean), max(high, mean), len(y), count)
