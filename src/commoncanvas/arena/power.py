"""How many votes a difference needs: what to know before an arena is built. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.statistics.decisions import ALPHA, family_alpha
from commoncanvas.arena.statistics.sequences import line
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import ArenaError
from commoncanvas.options.arena_design import DEFAULTS, Design

if TYPE_CHECKING:
    from rich.console import RenderableType

Floats = NDArray[np.float64]
ARENAS = 1000
"""Simulated arenas for the figures of those that are watched."""
VOTES = np.unique(np.geomspace(10, 3e6, 700).round())
"""Votes at which they are looked at. Each is at most 2 % more than the one before, so figures are a little too high."""


@dataclass(frozen=True)
class Need:
    """What one difference takes, in votes for each pair of models; None: no number of votes is enough.

    `difference`: of 100 votes, how many more the better model wins than the other. `rate`: the better model's win rate
    with ties half, in percent. `fixed`: votes fixed beforehand, looked at once. `watched`: votes that find it with the
    same power if one looks after every vote and stops. `half`: votes at which half of such arenas have stopped.
    `prompts`, `raters`: how many `watched` votes have.
    """

    difference: float
    rate: float
    fixed: int | None
    watched: int | None
    half: int | None
    prompts: int | None
    raters: int | None


@dataclass(frozen=True, repr=False)
class Power(Printed):
    """What `arena power` says."""

    needs: tuple[Need, ...]
    design: Design

    def render(self) -> RenderableType:
        """The table of differences and votes, and what they rest on."""
        from rich.console import Group
        from rich.text import Text

        from commoncanvas.core.tables import headed

        shown = headed("difference", "win rate", "fixed", "watched", "half stop by", "prompts", "raters")
        for need in self.needs:
            numbers = (need.fixed, need.watched, need.half, need.prompts, need.raters)
            shown.add_row(f"{need.difference:g} points", f"{need.rate:g} %", *map(_shown, numbers))
        title = f"Votes that find a difference between two models, {100 * self.design.power:g} times in 100"
        return Group(Text(title), Text(""), shown, Text(""), *map(Text, self.notes()))

    def notes(self) -> list[str]:
        """What the figures mean and assume, a sentence or two each."""
        design, first = self.design, self.needs[0]
        pairs = design.models * (design.models - 1) // 2
        said = [
            f"difference: of 100 votes, the better model wins {first.difference:g} more than the other "
            f"({first.rate:g} % of votes, ties counted half)",
            "fixed: you fix the number of votes before, and read the result once",
            "watched: you may look after every vote, and stop when it is decided; prompts and raters are for this",
            f"assumed: {100 * design.ties:g} % ties, {design.per_prompt:g} votes on a prompt, {design.per_rater:g} "
            f"of a rater; prompts explain {100 * design.prompt_effect:g} % of the variance of votes, raters "
            f"{100 * design.rater_effect:g} %",
        ]
        if design.models > 2:
            said.append(
                f"{design.models} models are {pairs} pairs: multiply the votes by {pairs}. False decisions of all "
                f"pairs together are under {100 * ALPHA:g} %"
            )
        if any(need.watched is None for need in self.needs):
            said.append("never: there are too few prompts or raters, however many votes they give")
        return said


def _shown(number: int | None) -> str:
    return "never" if number is None else f"{number:,}"


def power(differences: Sequence[float] = (2, 5, 10), design: Design = DEFAULTS) -> Power:
    """Votes for each pair of models that find differences of so many points. Raises ArenaError for impossible ones.

    The variance of a win rate from n votes is s^2 times `mean_variance`, with s^2 that of one vote; prompts and raters
    are random and crossed. A watched arena is simulated as Brownian motion with a drift, against the sequence's line.
    """
    most = 100 * (1 - design.ties)
    for difference in differences:
        if not 0 < difference <= most:
            raise ArenaError(
                f"difference {difference:g}: with {100 * design.ties:g} % ties, give 0 to {most:g} points"
            )
    if not differences:
        raise ArenaError("differences: give one or more, in points")
    return Power(tuple(_need(difference, design) for difference in differences), design)


def sizes(design: Design, votes: Floats) -> tuple[Floats, Floats]:
    """Prompts and raters that so many votes of one pair of models have."""
    prompts = np.minimum(votes / design.per_prompt, design.prompts or np.inf)
    raters = np.minimum(votes / design.per_rater, design.raters or np.inf)
    return np.maximum(prompts, 1), np.maximum(raters, 1)


def mean_variance(design: Design, votes: Floats) -> Floats:
    """Variance of the mean of so many votes, if that of one vote is 1."""
    prompts, raters = sizes(design, votes)
    own = 1 - design.prompt_effect - design.rater_effect
    return np.asarray(own / votes + design.prompt_effect / prompts + design.rater_effect / raters)


def _need(difference: float, design: Design) -> Need:
    from scipy.special import ndtri

    drift = difference / 200
    alpha = family_alpha(design.models)
    variance = ((1 - design.ties) / 4 - drift**2) * mean_variance(design, VOTES)
    reach = float(ndtri(1 - alpha / 2) + ndtri(design.power))
    fixed = _first(drift**2 / variance >= reach**2)
    decided = _decided(drift, variance, alpha, design)
    watched, half = (_first(decided >= share) for share in (design.power, 0.5))
    there = sizes(design, np.array(float(watched or 0)))
    prompts, raters = (None if watched is None else int(np.ceil(each)) for each in there)
    return Need(difference, 50 + difference / 2, fixed, watched, half, prompts, raters)


def _decided(drift: float, variance: Floats, alpha: float, design: Design) -> Floats:
    """The share of watched arenas that are decided, at each of VOTES."""
    rng = np.random.default_rng(0)
    information = 1 / variance
    steps = np.diff(information, prepend=0.0)
    prompts, raters = sizes(design, VOTES)
    # What a sum D that is not 0 adds to the squares of clusters' sums; see `sequences.Moments.spread`.
    shift = 1 / prompts + 1 / raters - 1 / VOTES
    decided = np.zeros(len(VOTES))
    for _ in range(10):
        moves = rng.standard_normal((ARENAS // 10, len(VOTES))) * np.sqrt(steps) + drift * steps
        total = np.cumsum(moves, 1) / information * VOTES
        over = np.abs(total) >= line(VOTES**2 * variance + shift * total**2, alpha)
        decided += np.logical_or.accumulate(over, 1).sum(0)
    return decided / ARENAS


def _first(enough: NDArray[np.bool_]) -> int | None:
    """The first of VOTES that is enough."""
    return int(VOTES[enough.argmax()]) if enough.any() else None
