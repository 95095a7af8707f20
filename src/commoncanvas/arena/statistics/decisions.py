"""When a question is decided, so that one may look after every vote and stop. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from commoncanvas.arena.statistics.sequences import Floats, decided, moments, sequence
from commoncanvas.arena.statistics.tables import PEOPLE, Indices, Scope, Table

ALPHA = 0.05
"""How often, at most, one of all pairs of models is called different though it is not."""
LEAST_CLUSTERS = 10
"""With fewer prompts or raters than about this, even unanimous votes can't decide: A is at least D^2 / clusters."""


@dataclass(frozen=True)
class Decision:
    """Two models, and the win rate of `first` (ties half) as it may be watched.

    `low` and `high`: ends of the confidence sequence now. `winner`: the better model, or None while it is undecided.
    `alpha`: the error of this pair; those of all pairs together are at most ALPHA.
    """

    first: str
    second: str
    votes: int
    prompts: int
    raters: int
    rate: float | None
    low: float
    high: float
    winner: str | None
    alpha: float
    scope: Scope


def family_alpha(models: int) -> float:
    """The error of one pair if all pairs of `models` have ALPHA together (Bonferroni)."""
    return ALPHA / max(models * (models - 1) // 2, 1)


def decide(found: Table, first: int, second: int, scope: Scope = PEOPLE) -> Decision:
    """Whether the votes of `found` decide between two of its models."""
    own = found.pair(first, second)
    alpha = family_alpha(len(found.models))
    names = (found.models[first], found.models[second])
    if not len(own):
        return Decision(*names, 0, 0, 0, None, 0.0, 1.0, None, alpha, scope)
    now = moments(own.scores, own.clusters(scope)).at(np.array([len(own) - 1]))
    low, high = (float(end[-1]) for end in sequence(now, alpha))
    winner = names[int(own.scores.mean() < 0.5)] if decided(now, alpha)[-1] else None
    prompts, raters = int(own.prompts.max()) + 1, int(own.raters.max()) + 1
    return Decision(
        *names, len(own), prompts, raters, float(own.scores.mean()), low, high, winner, alpha, scope
    )


def path(own: Table, alpha: float, votes: Indices, scope: Scope = PEOPLE) -> tuple[Floats, Floats]:
    """Ends of the confidence sequence after some of the votes on one pair of models, counted from 0."""
    return sequence(moments(own.scores, own.clusters(scope)).at(votes), alpha)


def decisions(found: Table, scope: Scope = PEOPLE) -> list[Decision]:
    """The decision on each pair of models."""
    return [decide(found, *pair, scope) for pair in combinations(range(len(found.models)), 2)]
