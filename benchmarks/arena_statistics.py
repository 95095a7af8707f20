"""Simulated arenas with ties, careless raters, tastes, prompt effects and a preferred side: do the statistics hold?

Run: python benchmarks/arena_statistics.py [--arenas 500] [--seed 0]. A few minutes on one core; it needs no model.
For each design, of SCENES: how many of the 95 % intervals hold the true value (win rates by Wilson's interval with
clusters, and as everyone does it, with independent votes, for comparison; differences of Bradley-Terry strengths; and
of one model's score against the others), how many sequences hold it at all votes at once, and how many of two equal
models somebody would call different who looks after every vote: by the sequence, and by the plain interval.
Intervals of these figures are Wilson's, at 95 %. The true values are integrals over raters and prompts, so that the
figures are about people and prompts in general, and not only about those of the arena.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from commoncanvas.arena.statistics.bradley_terry import Fit, fit, probabilities
from commoncanvas.arena.statistics.sequences import decided, excluded, moments
from commoncanvas.arena.statistics.win_rates import quantile, wilson, win_rate

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
ALPHA = 0.05
LOOK_FROM = 10
"""Votes before somebody first looks."""


@dataclass(frozen=True)
class Scene:
    """A design, and a population of prompts and raters. Effects are standard deviations of log odds."""

    strengths: tuple[float, ...] = (0.25, -0.25)
    votes: int = 600
    """Of all pairs together."""
    prompts: int = 100
    raters: int = 20
    sessions: bool = False
    """Raters come one after another, and not all at once."""
    tie: float = -0.3
    """Log of Davidson's nu: 0.27 of the votes between equal models are ties."""
    prompt_effect: float = 0.6
    """Of each model at each prompt."""
    taste: float = 0.4
    """Of each model to each rater."""
    careless: float = 0.1
    """Mean share of votes that a rater gives at random; it differs between raters."""
    side: float = 0.15
    """What the left side adds."""


SCENES = {
    "as usual": Scene(),
    "equal models": Scene(strengths=(0.0, 0.0)),
    "raters in a row": Scene(sessions=True),
    "no effects, no ties": Scene(prompt_effect=0, taste=0, careless=0, side=0, tie=-9.0),
    "few votes": Scene(votes=150, prompts=50, raters=15),
    "many votes": Scene(votes=2000, prompts=200, raters=40),
    "strong effects": Scene(prompt_effect=1.2, taste=0.8, votes=1000),
    "clear winner": Scene(strengths=(1.0, -1.0)),
    "four models": Scene(strengths=(0.5, 0.2, -0.2, -0.5), votes=1200),
    "twelve raters": Scene(raters=12),
}


@dataclass(frozen=True)
class Arenas:
    """Simulated votes: arrays [arenas, votes]. `votes`: 1 if `first` won, 0.5 for a tie, else 0."""

    first: Indices
    second: Indices
    prompts: Indices
    raters: Indices
    votes: Floats


def simulate(scene: Scene, arenas: int, rng: np.random.Generator) -> Arenas:
    """Votes in the order in which they come. Pairs and prompts are balanced, and random in order."""
    models = len(scene.strengths)
    pairs = np.array(list(combinations(range(models), 2)))
    shape = (arenas, scene.votes)
    pair = rng.permuted(np.tile(np.resize(np.arange(len(pairs)), scene.votes), (arenas, 1)), axis=1)
    prompts = rng.permuted(np.tile(np.resize(np.arange(scene.prompts), scene.votes), (arenas, 1)), axis=1)
    turn = np.sort(np.resize(np.arange(scene.raters), scene.votes))
    raters = np.tile(turn, (arenas, 1))
    if not scene.sessions:
        raters = rng.permuted(raters, axis=1)
    first, second = pairs[pair, 0], pairs[pair, 1]
    rows = np.arange(arenas)[:, None]
    at_prompt = scene.prompt_effect * rng.standard_normal((arenas, scene.prompts, models))
    to_rater = scene.taste * rng.standard_normal((arenas, scene.raters, models))
    utility = np.array(scene.strengths) + at_prompt[rows, prompts] + to_rater[rows, raters]
    lead = np.take_along_axis(utility, first[..., None], -1) - np.take_along_axis(
        utility, second[..., None], -1
    )
    left = rng.choice([-1.0, 1.0], shape)
    win, tie, _ = probabilities(lead[..., 0] + scene.side * left, scene.tie)
    # A beta distribution: most raters are careful, a few are not.
    rates = rng.beta(1, (1 - scene.careless) / scene.careless, raters.shape) if scene.careless else 0.0
    rate = np.take_along_axis(rates, raters, 1) if scene.careless else np.zeros(shape)
    careless = rng.random(shape) < rate
    win, tie = np.where(careless, 1 / 3, win), np.where(careless, 1 / 3, tie)
    drawn = rng.random(shape)
    votes = np.where(drawn < win, 1.0, np.where(drawn < win + tie, 0.5, 0.0))
    return Arenas(first, second, prompts, raters, votes)


def true_probabilities(scene: Scene, first: int, second: int) -> Floats:
    """P(win), P(tie), P(loss) of a pair over all prompts, raters and sides, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = np.sqrt(2 * (scene.prompt_effect**2 + scene.taste**2))
    lead = scene.strengths[first] - scene.strengths[second] + spread * nodes
    found = sum(
        (weights / weights.sum()) @ np.stack(probabilities(lead + side, scene.tie), 1)
        for side in (scene.side, -scene.side)
    )
    return np.asarray((1 - scene.careless) * found / 2 + scene.careless / 3)


def true_fit(scene: Scene) -> Fit:
    """The Bradley-Terry model nearest to the population."""
    pairs = list(combinations(range(len(scene.strengths)), 2))
    first, second = (np.repeat([pair[side] for pair in pairs], 3) for side in (0, 1))
    weights = np.concatenate([true_probabilities(scene, *pair) for pair in pairs]) * 1e6
    return fit(first, second, np.tile([1.0, 0.5, 0.0], len(pairs)), len(scene.strengths), [], weights)


@dataclass(frozen=True)
class Outcome:
    """Of all arenas of a scene: whether each interval held the truth, and whether a difference was called."""

    wilson: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    strength: NDArray[np.bool_]
    score: NDArray[np.bool_]
    sequence: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    plain_decided: NDArray[np.bool_]
    effective: Floats


def run(scene: Scene, arenas: int, rng: np.random.Generator) -> Outcome:
    """Simulate, and look at the first model against the last one."""
    drawn = simulate(scene, arenas, rng)
    last = len(scene.strengths) - 1
    probability = true_probabilities(scene, 0, last)
    truth = float(probability[0] + probability[1] / 2)
    best = true_fit(scene)
    rows: dict[str, list[bool]] = {name: [] for name in ("wilson", "plain", "strength", "score")}
    rows |= {name: [] for name in ("sequence", "decided", "plain_decided")}
    effective = []
    for number in range(arenas):
        own = (drawn.first[number] == 0) & (drawn.second[number] == last)
        votes, raters, prompts = (part[number][own] for part in (drawn.votes, drawn.raters, drawn.prompts))
        ways = [_dense(prompts), _dense(raters)]
        rate = win_rate(votes, ways)
        effective.append(rate.effective_votes)
        rows["wilson"].append(rate.low <= truth <= rate.high)
        low, high = wilson(votes.mean(), len(votes), 1.96)
        rows["plain"].append(low <= truth <= high)
        found = moments(votes, ways)
        rows["sequence"].append(not excluded(found, truth, ALPHA).any())
        rows["decided"].append(bool(decided(found, ALPHA).any()))
        rows["plain_decided"].append(plainly_decided(votes))
        fitted = fit(
            drawn.first[number],
            drawn.second[number],
            drawn.votes[number],
            len(scene.strengths),
            [_dense(drawn.prompts[number]), _dense(drawn.raters[number])],
        )
        rows["strength"].append(_holds(fitted.difference(0, last), best.difference(0, last)[0]))
        rows["score"].append(_holds(fitted.score(0), best.score(0)[0]))
    return Outcome(**{name: np.array(held) for name, held in rows.items()}, effective=np.array(effective))


def _dense(clusters: Indices) -> Indices:
    return np.unique(clusters, return_inverse=True)[1]


def _holds(estimate: tuple[float, float, float], truth: float) -> bool:
    value, error, freedom = estimate
    return abs(value - truth) <= quantile(1 - ALPHA, freedom) * error


def plainly_decided(votes: Floats) -> bool:
    """Whether an interval for independent votes leaves out one half at some vote."""
    count = np.arange(1, len(votes) + 1)
    mean = np.cumsum(votes) / count
    return bool((np.abs(mean - 0.5) > 1.96 * np.sqrt(0.25 / count))[LOOK_FROM:].any())


def shown(held: NDArray[np.bool_]) -> str:
    low, high = wilson(float(held.mean()), len(held), 1.96)
    return f"{100 * held.mean():5.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arenas", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(
        "| arenas of this kind | Wilson, clustered | Wilson, plain | strengths | score | sequence, all votes |"
    )
    print("|---|---|---|---|---|---|")
    every = []
    for name, scene in SCENES.items():
        found = run(scene, options.arenas, rng)
        every.append((found.wilson, found.plain, found.strength, found.score, found.sequence))
        print(f"| {name} | {' | '.join(map(shown, every[-1]))} |", flush=True)
    print(
        f"| all of these | {' | '.join(shown(np.concatenate(held)) for held in zip(*every, strict=True))} |"
    )
    print()
    print(
        "| equal models, a look after every vote | called different by the sequence | by a plain interval |"
    )
    print("|---|---|---|")
    for name, scene in SCENES.items():
        equal = replace(scene, strengths=(0.0,) * 2, votes=max(scene.votes, 1000))
        found = run(equal, options.arenas, rng)
        print(f"| {name} | {shown(found.decided)} | {shown(found.plain_decided)} |", flush=True)


if __name__ == "__main__":
    main()
