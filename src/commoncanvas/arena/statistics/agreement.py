"""How far raters agree: Krippendorff's alpha for nominal data. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.votes import Vote

VALUES = 3
"""The first model (by name), a tie, the second one."""
DRAWS = 1000


@dataclass(frozen=True)
class Agreement:
    """`alpha`: 1 if raters always agree, 0 if they agree as by chance, below 0 if less; None if it can't be said.

    `pairs`: pairs of images with two or more raters, on which it rests. `low` and `high`: 95 % bootstrap over
    them.
    """

    alpha: float | None
    low: float | None
    high: float | None
    pairs: int
    answers: int


def agreement(votes: Iterable[Vote], seed: int = 0) -> Agreement:
    """Agreement of raters who saw the same pair of images, whatever side each was on; of one rater, the last vote."""
    answers: dict[tuple[str, str], tuple[str, int]] = {}
    for vote in votes:
        won = {"left": vote.left, "right": vote.right}.get(vote.answer)
        value = 1 if won is None else 0 if won == min(vote.left, vote.right) else 2
        answers[vote.pair, vote.rater] = (vote.pair, value)
    place: dict[str, int] = {}
    for pair, _ in answers.values():
        place.setdefault(pair, len(place))
    counts = np.zeros((len(place), VALUES))
    for pair, value in answers.values():
        counts[place[pair], value] += 1
    counts = counts[counts.sum(1) > 1]
    if not len(counts):
        return Agreement(None, None, None, 0, 0)
    # In an order of their own, so that neither names nor the order of votes change the draws.
    counts = counts[np.lexsort(counts.T)]
    drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), DRAWS)
    alphas = _alpha(drawn.astype(float), counts)
    alphas = alphas[np.isfinite(alphas)]
    alpha = float(_alpha(np.ones((1, len(counts))), counts)[0])
    low, high = np.quantile(alphas, [0.025, 0.975]).tolist() if len(alphas) else (None, None)
    if not np.isfinite(alpha):
        return Agreement(None, None, None, len(counts), int(counts.sum()))
    return Agreement(alpha, low, high, len(counts), int(counts.sum()))


def _alpha(weights: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha of units with `counts` [units, values], each taken as often as `weights` [draws, units] say.

    Krippendorff (2019), Content Analysis, section 12.3: 1 - (n - 1) * disagreement within units / that of all values.
    """
    size = counts.sum(1)
    within = (size**2 - (counts**2).sum(1)) / (size - 1)
    totals = weights @ counts
    whole = totals.sum(1)
    expected = whole**2 - (totals**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - (whole - 1) * (weights @ within) / expected)
