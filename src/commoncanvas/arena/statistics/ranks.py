"""Models in the order of their strengths, and which ranks are possible. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.statistics.bradley_terry import Fit, fit
from commoncanvas.arena.statistics.decisions import family_alpha
from commoncanvas.arena.statistics.tables import PEOPLE, Scope, Table
from commoncanvas.arena.statistics.win_rates import LEVEL, quantile

ELO = 400 / math.log(10)
"""Elo points of one unit of log odds."""


@dataclass(frozen=True)
class Rank:
    """A model's strength (Elo points above the mean of all), and its share of votes against the others (ties half).

    Intervals have 95 % for a number of votes fixed beforehand. `best` and `worst`: the ranks that differences between
    all pairs of models together leave possible.
    """

    model: str
    votes: int
    strength: float
    strength_low: float
    strength_high: float
    score: float
    score_low: float
    score_high: float
    best: int
    worst: int


def ranks(found: Table, scope: Scope = PEOPLE) -> list[Rank]:
    """Models by strength, the best first; those without a vote are left out."""
    voted = np.unique(np.concatenate([found.first, found.second]))
    if len(voted) < 2:
        return []
    place = np.full(len(found.models), -1)
    place[voted] = np.arange(len(voted))
    first, second = place[found.first], place[found.second]
    fitted = fit(first, second, found.scores, len(voted), found.clusters(scope))
    better = _better(fitted, len(voted))
    listed = []
    for model in range(len(voted)):
        strength, strength_low, strength_high = (ELO * value for value in _interval(fitted.strength(model)))
        score, score_low, score_high = _interval(fitted.score(model))
        listed.append(
            Rank(
                model=found.models[voted[model]],
                votes=int(((first == model) | (second == model)).sum()),
                strength=strength,
                strength_low=strength_low,
                strength_high=strength_high,
                score=score,
                score_low=max(score_low, 0.0),
                score_high=min(score_high, 1.0),
                best=1 + int(better[:, model].sum()),
                worst=len(voted) - int(better[model].sum()),
            )
        )
    return sorted(listed, key=lambda rank: (-rank.strength, rank.model))


def _interval(estimate: tuple[float, float, float]) -> tuple[float, float, float]:
    value, error, freedom = estimate
    reach = quantile(LEVEL, freedom) * error
    return value, value - reach, value + reach


def _better(fitted: Fit, models: int) -> NDArray[np.bool_]:
    """Whether the first model's strength is above the second's, all pairs at once (Bonferroni)."""
    better = np.zeros((models, models), bool)
    for first, second in combinations(range(models), 2):
        value, error, freedom = fitted.difference(first, second)
        if abs(value) > quantile(1 - family_alpha(models), freedom) * error:
            better[(first, second) if value > 0 else (second, first)] = True
    return better
