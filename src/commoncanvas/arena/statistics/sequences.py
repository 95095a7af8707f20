"""Confidence sequences for a win rate: intervals that hold together at all votes, however often one looks. Pure.

Votes count 1, 0.5 (tie) or 0. For a win rate m, D is the sum of (vote - m), and A the sum of squares of the same sums
over clusters. The sequence is all m with D^2 < (A + K) log((A + K) / (K a^2)).

Why it holds: if the D of clusters are symmetric about 0, exp(l D - l^2 A / 2) is a supermartingale for each l (de la
Peña 1999, doi 10.1214/aop/1022677271); a normal mixture over l and Ville's inequality give the line (Robbins 1970;
Howard et al. 2021, doi 10.1214/20-AOS1991). With equal models and random sides the symmetry is exact. For other win
rates it holds for many votes (Waudby-Smith et al. 2024, doi 10.1214/24-AOS2408).
Prompts and raters are two crossed ways of clusters, so A is that of prompts, plus that of raters, less that of
what they share, and never less than one of them (compare `clusters.py`). For two ways no proof is known to
us; votes of raters and prompts that were there before make D wander less than the line allows, and
benchmarks/arena_statistics.py measures how often it is crossed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIXTURE = 12.0
"""K: the line is lowest where A is about 8 times it, which 400 votes without ties reach. Fixed before any vote."""


@dataclass(frozen=True)
class Moments:
    """Sums over the votes so far, at each vote: arrays of one shape, votes on the last axis.

    `ways`: for each way of clusters, and of two ways also for what they share, (sum s^2, sum s c, sum c^2) over
    clusters, with s the sum of votes of a cluster and c their number.
    """

    count: Floats
    total: Floats
    ways: tuple[tuple[Floats, Floats, Floats], ...]

    def deviation(self, rate: Floats | float) -> Floats:
        """D at the win rate `rate`."""
        return self.total - self.count * rate

    def spread(self, rate: Floats | float) -> Floats:
        """A at the win rate `rate`."""
        squares = [ss - 2 * rate * sc + rate * rate * cc for ss, sc, cc in self.ways]
        if len(squares) == 1:
            return squares[0]
        prompts, raters, both = squares
        return np.maximum(np.maximum(prompts, raters), prompts + raters - both)

    def at(self, votes: NDArray[np.intp]) -> Moments:
        """The moments after some of the votes, which are counted from 0."""
        ways = tuple((ss[..., votes], sc[..., votes], cc[..., votes]) for ss, sc, cc in self.ways)
        return Moments(self.count[..., votes], self.total[..., votes], ways)


def moments(votes: Floats, clusters: Sequence[NDArray[np.intp]]) -> Moments:
    """The moments of `votes` [..., N] in the order in which they came; `clusters`: 1 or 2 arrays like it."""
    ways = list(clusters)
    if len(ways) == 2:
        ways.append(ways[0] * (int(ways[1].max(initial=0)) + 1) + ways[1])
    count = np.cumsum(np.ones_like(votes), -1)
    return Moments(count, np.cumsum(votes, -1), tuple(_way(votes, way) for way in ways))


def _way(votes: Floats, clusters: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
    before, seen = _earlier(votes, clusters)
    return (
        np.cumsum(2 * before * votes + votes**2, -1),
        np.cumsum(before + seen * votes + votes, -1),
        np.cumsum(2 * seen + 1, -1),
    )


def _earlier(votes: Floats, clusters: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Sum and number of the earlier votes of the same cluster, for each vote."""
    rows = votes.reshape(-1, votes.shape[-1])
    own = clusters.reshape(rows.shape) + (np.arange(len(rows)) * (clusters.max(initial=0) + 1))[:, None]
    order = np.argsort(own.ravel(), kind="stable")
    sorted_votes, groups = rows.ravel()[order], own.ravel()[order]
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    sizes = np.diff(np.r_[starts, len(groups)])
    running = np.cumsum(sorted_votes) - sorted_votes
    before, seen = np.empty(len(order)), np.empty(len(order))
    before[order] = running - np.repeat(running[starts], sizes)
    seen[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return before.reshape(votes.shape), seen.reshape(votes.shape)


def line(spread: Floats, alpha: float, mixture: float = MIXTURE) -> Floats:
    """How large D may become while A is `spread`."""
    whole = spread + mixture
    return np.asarray(np.sqrt(whole * np.log(whole / (mixture * alpha**2))))


def excluded(found: Moments, rate: Floats | float, alpha: float) -> NDArray[np.bool_]:
    """Whether the win rate `rate` is outside of the sequence, at each vote."""
    return np.abs(found.deviation(rate)) >= line(found.spread(rate), alpha)


def decided(found: Moments, alpha: float) -> NDArray[np.bool_]:
    """Whether one half is excluded, at each vote. A tie adds nothing to D and A at one half: it decides nothing."""
    return excluded(found, 0.5, alpha)


def sequence(found: Moments, alpha: float) -> tuple[Floats, Floats]:
    """Lower and upper ends of the sequence at each vote, by bisection."""
    mean = found.total / found.count
    return _end(found, alpha, mean, 0.0), _end(found, alpha, mean, 1.0)


def _end(found: Moments, alpha: float, mean: Floats, limit: float) -> Floats:
    inside, outside = mean.copy(), np.full_like(mean, limit)
    whole = ~excluded(found, outside, alpha)
    for _ in range(40):
        middle = (inside + outside) / 2
        out = excluded(found, middle, alpha)
        inside, outside = np.where(out, inside, middle), np.where(out, middle, outside)
    return np.where(whole, limit, outside)
