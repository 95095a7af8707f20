"""How many votes a difference needs: textbook numbers without effects, and simulated arenas with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from commoncanvas.arena.power import power
from commoncanvas.arena.statistics.effects import share_explained
from commoncanvas.arena.statistics.sequences import decided, moments
from commoncanvas.core.errors import ArenaError
from commoncanvas.options.arena_design import Design

from .simulated import simulations

PLAIN = Design(ties=0, prompt_effect=0, rater_effect=0)


def test_without_effects_the_number_is_that_of_books() -> None:
    """(1.96 + 0.84)^2 p (1 - p) / (p - 1/2)^2, at looks at most 2 % apart."""
    (need,) = power([10], PLAIN).needs
    exact = 2.8016**2 * 0.2475 / 0.05**2
    assert exact <= (need.fixed or 0) <= 1.02 * exact
    assert need.rate == 55 and (need.half or 0) > (need.fixed or 0) and (need.watched or 0) > (need.half or 0)
    (tied,) = power([10], replace(PLAIN, ties=0.3)).needs
    assert (tied.fixed or 0) == pytest.approx(0.7 * exact, rel=0.03)


def test_effects_models_and_small_differences_need_more() -> None:
    plain = power([2, 5, 10], PLAIN).needs
    assert [need.fixed for need in plain] == sorted((need.fixed or 0 for need in plain), reverse=True)
    for more in ({"prompt_effect": 0.2}, {"rater_effect": 0.1}, {"models": 4}, {"power": 0.95}):
        (need,) = power([5], replace(PLAIN, **more)).needs
        assert (need.fixed or 0) > 1.1 * (plain[1].fixed or 0) and (need.watched or 0) > 1.1 * (
            plain[1].watched or 0
        )


def test_too_few_raters_are_never_enough() -> None:
    found = power([2, 10], Design(raters=12, rater_effect=0.05))
    assert [need.watched for need in found.needs] == [None, None] and "never" in str(found)
    assert found.needs[0].fixed is None


@pytest.mark.slow
def test_watched_arenas_stop_when_it_says() -> None:
    scene = simulations.Scene(
        strengths=(0.3, -0.3), votes=1500, prompts=500, raters=60, sessions=True, prompt_effect=0.6, taste=0.3
    )
    drawn = simulations.simulate(scene, 200, np.random.default_rng(1))
    ever = decided(moments(drawn.votes, [drawn.prompts, drawn.raters]), 0.05)
    stopped = np.where(ever.any(1), ever.argmax(1) + 1, np.inf)
    win, tie, loss = simulations.true_probabilities(scene, 0, 1)
    effects = [
        np.mean([share_explained(votes, own) for votes, own in zip(drawn.votes, way, strict=True)])
        for way in (drawn.prompts, drawn.raters)
    ]
    design = Design(
        ties=tie, prompt_effect=effects[0], rater_effect=effects[1], per_rater=25, prompts=500, raters=60
    )
    (need,) = power([100 * (win - loss)], design).needs
    assert np.quantile(stopped, 0.5) == pytest.approx(need.half, rel=0.2)
    assert np.quantile(stopped, 0.8) == pytest.approx(need.watched, rel=0.25)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": 1}, "models 1"),
        ({"ties": 1.0}, "ties 1: give a share"),
        ({"per_rater": 0}, "per-rater 0: give 1 or more"),
        ({"raters": 0}, "raters 0"),
        ({"prompt_effect": 0.6, "rater_effect": 0.4}, "explain all"),
        ({"power": 0.2}, "power 0.2"),
    ],
)
def test_what_can_t_be_is_an_error(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ArenaError, match=said):
        Design(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("difference", [0.0, -1.0, 80.0])
def test_differences_are_points(difference: float) -> None:
    with pytest.raises(ArenaError, match=f"difference {difference:g}"):
        power([difference])
