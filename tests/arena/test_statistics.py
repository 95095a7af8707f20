"""The formulas, against other ways to the same numbers; and properties that hold for any votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from commoncanvas.arena.statistics.agreement import _alpha, agreement
from commoncanvas.arena.statistics.bradley_terry import PRIOR_DEVIATION, fit, probabilities
from commoncanvas.arena.statistics.clusters import clustered
from commoncanvas.arena.statistics.decisions import LEAST_CLUSTERS, decide, decisions
from commoncanvas.arena.statistics.ranks import ranks
from commoncanvas.arena.statistics.sequences import MIXTURE, decided, excluded, line, moments, sequence
from commoncanvas.arena.statistics.tables import table
from commoncanvas.arena.statistics.win_rates import wilson, win_rate
from commoncanvas.arena.votes import Vote

from .simulated import simulated_votes, simulations

MIRROR = {"left": "right", "right": "left"}
NAMES = ("ours", "sd2", "sdxl")


def vote(rater: object, prompt: object, answer: str, left: str = "ours", right: str = "sd2") -> Vote:
    return Vote(f"{rater}", f"{prompt}", f"{prompt}", "", left, right, "preference", answer, "", "", "")


@st.composite
def ballots(draw: st.DrawFn, most: int = 40) -> list[Vote]:
    """Votes of a few raters on a few prompts, between three models. Often all agree, so that some are decided."""
    lean = draw(st.sampled_from(["left", "right", None]))
    answers = st.sampled_from(["left", "right", "both", "neither", *([lean] * 30 if lean else [])])
    found = []
    for number in range(draw(st.integers(1, most))):
        left, right = draw(st.sampled_from([("ours", "sd2")] * 8 + [("sdxl", "ours"), ("sd2", "sdxl")]))
        rater = draw(st.integers(0, 4)) if draw(st.booleans()) else 100 + number
        prompt = draw(st.integers(0, 4)) if draw(st.booleans()) else 100 + number
        found.append(vote(rater, prompt, draw(answers), left, right))
    return found


def swapped(each: Vote) -> Vote:
    return replace(each, left=each.right, right=each.left, answer=MIRROR.get(each.answer, each.answer))


@settings(max_examples=40, deadline=None)
@given(votes=ballots())
def test_sides_don_t_matter(votes: list[Vote]) -> None:
    found, turned = decisions(table(votes)), decisions(table([swapped(each) for each in votes]))
    assert found == turned
    assert ranks(table(votes)) == ranks(table([swapped(each) for each in votes]))


@settings(max_examples=40, deadline=None)
@given(votes=ballots())
def test_models_that_change_names_change_places(votes: list[Vote]) -> None:
    """ "ours" and "sd2" are named so that their order turns."""
    other = {"ours": "z", "sd2": "a", "sdxl": "m"}
    renamed = [replace(each, left=other[each.left], right=other[each.right]) for each in votes]
    found = {frozenset((each.first, each.second)): each for each in decisions(table(renamed, other.values()))}
    for each in decisions(table(votes, other)):
        turned = found[frozenset((other[each.first], other[each.second]))]
        assert turned.winner == (each.winner and other[each.winner])
        if turned.first != other[each.first]:
            turned = replace(turned, low=1 - turned.high, high=1 - turned.low)
        assert (turned.low, turned.high) == pytest.approx((each.low, each.high), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(votes=ballots(), data=st.data())
def test_names_of_raters_and_prompts_change_nothing(votes: list[Vote], data: st.DataObject) -> None:
    raters, prompts = ({getattr(each, name) for each in votes} for name in ("rater", "prompt"))
    to_rater = dict(zip(sorted(raters), data.draw(st.permutations(sorted(raters))), strict=True))
    to_prompt = dict(zip(sorted(prompts), data.draw(st.permutations(sorted(prompts))), strict=True))
    renamed = [
        replace(each, rater=to_rater[each.rater], prompt=to_prompt[each.prompt], pair=to_prompt[each.pair])
        for each in votes
    ]
    assert decisions(table(votes)) == decisions(table(renamed))
    assert ranks(table(votes)) == ranks(table(renamed))
    assert agreement(votes) == agreement(renamed)


@settings(max_examples=150, deadline=None)
@given(
    votes=ballots(), ties=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9)
)
def test_a_tie_never_decides_and_takes_no_decision_back(
    votes: list[Vote], ties: list[tuple[int, int]]
) -> None:
    """Of two models: the third one would only change the error that is shared."""
    own = [each for each in votes if "sdxl" not in (each.left, each.right)]
    more = [vote(rater, prompt, "both") for rater, prompt in ties]
    before = decide(table(own, NAMES[:2]), 0, 1)
    assert decide(table(own + more, NAMES[:2]), 0, 1).winner == before.winner


def test_unanimous_raters_decide_if_they_are_enough() -> None:
    few = [
        vote(rater, f"{rater}-{number}", "left")
        for rater in range(LEAST_CLUSTERS - 1)
        for number in range(99)
    ]
    assert decide(table(few), 0, 1).winner is None
    assert decide(table(few), 0, 1, "these raters").winner == "ours"
    many = [vote(rater, rater, "left") for rater in range(30)]
    assert decide(table(many), 0, 1).winner == "ours"


@given(
    votes=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=40),
    rate=st.floats(0, 1),
    data=st.data(),
)
def test_moments_are_the_sums_over_clusters_at_each_vote(
    votes: list[float], rate: float, data: st.DataObject
) -> None:
    numbers = st.lists(st.integers(0, 5), min_size=len(votes), max_size=len(votes))
    ways = [np.array(data.draw(numbers)) for _ in range(2)]
    found = moments(np.array(votes), ways)
    for at in range(len(votes)):
        residuals = np.array(votes[: at + 1]) - rate
        sums = [np.bincount(way[: at + 1], residuals) for way in (*ways, ways[0] * 6 + ways[1])]
        prompts, raters, both = (float((each**2).sum()) for each in sums)
        expected = max(prompts + raters - both, prompts, raters)
        assert found.spread(rate)[at] == pytest.approx(expected, abs=1e-9)
        assert found.deviation(rate)[at] == pytest.approx(residuals.sum(), abs=1e-9)


def test_many_arenas_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(0)
    votes = rng.choice([0.0, 0.5, 1.0], (3, 50))
    ways = [rng.integers(0, 7, (3, 50)) for _ in range(2)]
    together = moments(votes, ways)
    for row in range(3):
        alone = moments(votes[row], [way[row] for way in ways])
        assert np.allclose(together.spread(0.3)[row], alone.spread(0.3))


def test_the_ends_of_a_sequence_are_where_win_rates_become_impossible() -> None:
    votes = simulated_votes(simulations.Scene(votes=400, raters=40), NAMES)
    own = table(votes).pair(0, 1)
    found = moments(own.scores, own.clusters("people"))
    low, high = sequence(found, 0.05)
    inner, outer = low + 1e-6, low - 1e-6
    assert not excluded(found, inner, 0.05).any() and excluded(found, outer, 0.05)[low > 0].all()
    assert not excluded(found, high - 1e-6, 0.05).any() and excluded(found, high + 1e-6, 0.05)[high < 1].all()
    assert (low <= found.total / found.count).all() and 0.1 < high[-1] - low[-1] < 0.5


def test_the_line_is_that_of_robbins() -> None:
    """The mixture of exp(l D - l^2 A / 2) over l, normal with variance 1 / K, is 1 / alpha on the line."""
    spread = np.array([1.0, 30.0, 500.0])
    reach = line(spread, 0.05)
    steps = np.linspace(-12, 12, 200_001)
    for each, bound in zip(spread, reach, strict=True):
        strengths = steps / np.sqrt(each + MIXTURE) + bound / (each + MIXTURE)
        prior = np.sqrt(MIXTURE / (2 * np.pi)) * np.exp(-MIXTURE * strengths**2 / 2)
        mixture = np.trapezoid(prior * np.exp(strengths * bound - strengths**2 * each / 2), strengths)
        assert mixture == pytest.approx(20, rel=1e-6)


def test_wilson_and_independent_votes() -> None:
    assert wilson(0.5, 10, 1.96) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.0, 10, 1.96) == pytest.approx((0.0, 0.2775), abs=1e-4)
    votes = np.repeat([1.0, 0.0], [120, 80])
    alone = np.arange(200)
    residuals = (votes - votes.mean())[:, None]
    found = clustered(residuals, np.ones((200, 1, 1)), [alone]).variance(np.ones(1))
    assert found == pytest.approx((votes.var(ddof=1) / 200, 199))
    # With 200 degrees of freedom, about the interval of the books.
    rate = win_rate(votes, [alone, alone])
    assert (rate.low, rate.high) == pytest.approx(wilson(0.6, 200, 1.96), abs=0.003)


@pytest.mark.parametrize("copies", [2, 5])
def test_a_vote_that_is_repeated_counts_once(copies: int) -> None:
    rng = np.random.default_rng(1)
    votes = rng.choice([0.0, 0.5, 1.0], 80)
    once = win_rate(votes, [np.arange(80), np.arange(80)])
    again = win_rate(np.repeat(votes, copies), [np.repeat(np.arange(80), copies)] * 2)
    assert again.effective_votes == pytest.approx(once.effective_votes, rel=0.06)


def test_unanimous_votes_have_an_interval() -> None:
    ways = [np.arange(12)] * 2
    rate = win_rate(np.ones(12), ways)
    assert rate.rate == 1 and 0.5 < rate.low < 0.85 and rate.high == 1
    assert win_rate(np.ones(1), [np.zeros(1, int)] * 2).low < 0.2
    assert (win_rate(np.ones(0), [np.zeros(0, int)] * 2).low, win_rate(np.ones(0), []).high) == (0.0, 1.0)


def test_strengths_are_at_the_maximum_of_the_likelihood() -> None:
    votes = simulated_votes(simulations.SCENES["four models"], ("a", "b", "c", "d"))
    found = table(votes)
    fitted = fit(found.first, found.second, found.scores, 4, [])

    def loss(values: np.ndarray) -> float:
        difference = values[found.first] - values[found.second]
        chances = probabilities(difference, values[-1])
        own = np.select([found.scores == 1, found.scores == 0.5], chances[:2], chances[2])
        return float(-np.log(own).sum() + (values**2).sum() / (2 * PRIOR_DEVIATION**2))

    best = minimize(loss, np.zeros(5), tol=1e-10).x
    assert np.allclose(fitted.strengths, best[:-1], atol=1e-4) and fitted.tie == pytest.approx(
        best[-1], abs=1e-4
    )
    assert fitted.strengths.sum() == pytest.approx(0, abs=1e-9)


def test_the_expected_share_and_its_slope() -> None:
    votes = simulated_votes(simulations.Scene(), NAMES)
    found = table(votes)
    fitted = fit(found.first, found.second, found.scores, 2, found.clusters("people"))
    share, error, freedom = fitted.score(0)
    assert share == pytest.approx(found.scores.mean(), abs=0.002), "two models: the share itself"
    rate = win_rate(found.scores, found.clusters("people"))
    assert error == pytest.approx((rate.rate or 0) - (rate.low or 0), rel=0.6) and 5 < freedom < 200


def test_a_model_that_lost_every_vote_has_a_strength() -> None:
    votes = [vote(number, number, "left") for number in range(40)]
    found = ranks(table(votes))
    assert [rank.model for rank in found] == ["ours", "sd2"] and 200 < found[0].strength < 1500
    assert np.isfinite([rank.strength_low for rank in found]).all()


def test_the_alpha_of_krippendorffs_example() -> None:
    coders = ["*****3 4 1 2 1 1 3 3 * 3", "1*2133 4 3 *******", "**2134 4 * 2 1 1 3 3 * 4"]
    columns = list(zip(*(coder.replace(" ", "") for coder in coders), strict=True))
    counts = np.array([[column.count(value) for value in "1234"] for column in columns], float)
    counts = counts[counts.sum(1) > 1]
    assert _alpha(np.ones((1, len(counts))), counts)[0] == pytest.approx(0.691, abs=5e-4)


def test_agreement_is_about_models_and_not_sides() -> None:
    same = [vote("a", 1, "left"), swapped(vote("b", 1, "left")), vote("a", 2, "right"), vote("b", 2, "right")]
    assert agreement(same).alpha == 1 and agreement(same).pairs == 2
    opposite = [vote("a", 1, "left"), vote("b", 1, "right"), vote("a", 2, "left"), vote("b", 2, "right")]
    assert (agreement(opposite).alpha or 0) < 0
    assert agreement([vote("a", 1, "left"), vote("a", 2, "left")]).alpha is None


def test_intervals_hold_in_simulated_arenas_and_plain_ones_do_not() -> None:
    """Of 200 arenas; the whole of it is the benchmark."""
    scene = simulations.Scene(prompt_effect=1.0, taste=0.6)
    found = simulations.run(scene, 200, np.random.default_rng(3))
    for held in (found.wilson, found.strength, found.score):
        assert 0.9 < held.mean() < 0.99
    assert found.plain.mean() < 0.85 and found.sequence.mean() >= 0.95


def test_looking_after_every_vote_seldom_calls_equal_models_different() -> None:
    scene = simulations.Scene(strengths=(0.0, 0.0), votes=1000, raters=30)
    drawn = simulations.simulate(scene, 300, np.random.default_rng(4))
    ever = decided(moments(drawn.votes, [drawn.prompts, drawn.raters]), 0.05).any(1)
    plain = [simulations.plainly_decided(votes) for votes in drawn.votes]
    assert ever.mean() < 0.05 and np.mean(plain) > 0.3
    easy = simulations.simulate(replace(scene, strengths=(0.6, -0.6)), 60, np.random.default_rng(5))
    assert decided(moments(easy.votes, [easy.prompts, easy.raters]), 0.05).any(1).mean() > 0.9
