"""What is computed from a model's answers and boxes: checks, means by category, intervals. No network here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.evaluation.scorers.answers import spellings
from commoncanvas.evaluation.scorers.composition import Box, Found, check, relations
from commoncanvas.evaluation.scorers.intervals import estimate
from commoncanvas.evaluation.scorers.scorer import Figure, Judgement, Part
from commoncanvas.evaluation.scorers.soft_tifa import judged
from commoncanvas.evaluation.scorers.summary import summary
from commoncanvas.evaluation.suite_prompt import Question, SuitePrompt


def square(x: float, y: float, side: float = 10) -> Box:
    return (x, y, x + side, y + side)


def found(*boxes: Box) -> list[Found]:
    return [Found(box, 0.9 - number / 100) for number, box in enumerate(boxes)]


def no_colours(name: str, objects: Sequence[Found]) -> list[str]:
    raise AssertionError("no colour is asked for")


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        (square(0, 0), square(50, 0), {"left of"}),
        (square(50, 0), square(0, 0), {"right of"}),
        (square(0, 0), square(0, 50), {"above"}),
        (square(50, 50), square(0, 0), {"right of", "below"}),
        (square(1, 1), square(0, 0), set()),  # nearer than a tenth of both sizes
        (square(0, 0, 100), square(25, 0, 100), set()),  # 25 less 20 of 25 is under a half
        (square(0, 0, 100), square(60, 0, 100), {"left of"}),
    ],
)
def test_a_position_is_named_only_if_it_is_clear(a: Box, b: Box, named: set[str]) -> None:
    assert relations(a, b) == named


def holds(record: dict[str, Any], objects: dict[str, list[Found]], colours: Any = no_colours) -> bool:
    return all(good for _, good, _ in check(record, objects, colours))


def test_counts_are_exact_where_more_are_excluded() -> None:
    record = {"include": [{"class": "dog", "count": 2}], "exclude": [{"class": "dog", "count": 3}]}
    dogs = found(square(0, 0), square(20, 0), square(40, 0))
    assert not holds(record, {"dog": dogs[:1]})
    assert holds(record, {"dog": dogs[:2]})
    assert not holds(record, {"dog": dogs})
    assert check(record, {"dog": dogs}, no_colours)[-1][2] == "3 dog, fewer than 3 wanted"


def test_the_surest_objects_decide_on_colour_and_position() -> None:
    red = {"include": [{"class": "car", "count": 1, "color": "red"}]}
    cars = found(square(0, 0), square(50, 0))

    def first_is_blue(name: str, objects: Sequence[Found]) -> list[str]:
        return ["blue" if one.box[0] == 0 else "red" for one in objects]

    assert not holds(red, {"car": cars}, first_is_blue), "a second car that is red doesn't help"
    assert holds(red, {"car": cars[1:]}, first_is_blue)
    below = {
        "include": [{"class": "cat", "count": 1}, {"class": "bird", "count": 1, "position": ["below", 0]}]
    }
    cat = found(square(0, 0))
    assert holds(below, {"cat": cat, "bird": found(square(0, 50), square(0, -50))})
    assert not holds(below, {"cat": cat, "bird": found(square(0, -50), square(0, 50))})
    assert not holds(below, {"bird": found(square(0, 50))}), "without a cat nothing is below it"


def test_soft_tifa_takes_means_of_the_answers_and_parents_first() -> None:
    questions = [
        Question("Is there a dog?"),
        Question("Is it green?", parents=(0,)),
        Question("Is the green old?", parents=(1,)),
        Question("Is there a car?"),
    ]
    figures = judged(questions, [0.4, 0.9, 0.8, 1.0]).figures
    assert figures["soft_tifa_am"] == pytest.approx(0.775)
    assert figures["soft_tifa_gm"] == pytest.approx((0.4 * 0.9 * 0.8) ** 0.25)
    assert figures["yes_with_parents"] == 0.25, "what depends on a wrong answer is wrong, also at second hand"
    assert judged(questions, [0.6, 0.9, 0.8, 1.0]).figures["yes_with_parents"] == 1


def test_an_answer_counts_in_all_its_spellings() -> None:
    assert set(spellings("Yes")) == {"Yes", "yes", " Yes", " yes"}
    assert {"four", "Four", " four", "4"} <= set(spellings("four"))


def test_every_image_counts_in_every_category() -> None:
    """Not the last image alone, as in a benchmark's script whose category scores kept only that (ELLA, issue 60)."""
    prompts = [SuitePrompt(str(n), "x", {"kind": "a" if n < 3 else "b", "odd": str(n % 2)}) for n in range(4)]
    scored = [
        (prompt, Judgement({"right": float(image == 0)}, (Part("q", float(image == 0), {"skill": "count"}),)))
        for prompt in prompts
        for image in range(4)
    ]
    made = summary(scored, {"right": Figure(True, "")})
    assert made.figures["right"].mean == 0.25 and made.figures["right"].values == 16
    assert made.categories["kind"]["a"]["right"][:1] == (0.25,)
    assert (
        made.categories["kind"]["a"]["right"].values == 12
        and made.categories["kind"]["b"]["right"].prompts == 1
    )
    assert set(made.categories["odd"]) == {"0", "1"}
    assert made.parts["skill"]["count"].mean == 0.25 and made.parts["skill"]["count"].values == 16
    reversed_ = summary(scored[::-1], {"right": Figure(True, "")})
    assert reversed_ == made, "the order of images changes nothing"


def test_categories_weigh_the_same_in_their_mean() -> None:
    prompts = [SuitePrompt(str(n), "x", {"task": "easy" if n < 9 else "hard"}) for n in range(10)]
    scored = [(each, Judgement({"right": float(each.categories["task"] == "easy")})) for each in prompts]
    made = summary(scored, {"right": Figure(True, "")})
    assert made.figures["right"].mean == 0.9 and made.macro["task"]["right"] == 0.5


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=2, max_size=40),
    st.booleans(),
)
def test_an_interval_holds_its_mean_and_a_share_stays_one(
    pairs: list[tuple[float, int]], share: bool
) -> None:
    made = estimate([value for value, _ in pairs], [str(group) for _, group in pairs], share)
    assert made.mean == pytest.approx(np.mean([value for value, _ in pairs]))
    if made.prompts < 2:
        assert made.low is None and made.high is None
    else:
        assert made.low is not None and made.high is not None
        assert made.low <= made.mean <= made.high
        assert not share or (made.low >= 0 and made.high <= 1)


@pytest.mark.parametrize(("prompts", "images", "share"), [(20, 4, True), (80, 1, True), (20, 4, False)])
def test_intervals_hold_the_true_mean_as_often_as_they_say(prompts: int, images: int, share: bool) -> None:
    random, hits, rounds = np.random.default_rng(1), 0, 600
    groups = [str(group) for group in np.repeat(np.arange(prompts), images)]
    for _ in range(rounds):
        chances = random.beta(1, 1.5, (prompts, 1))
        draws = random.random((prompts, images)) < chances
        values = draws if share else 3 * chances + random.normal(size=draws.shape)
        true = 0.4 if share else 1.2
        made = estimate(values.astype(float).ravel().tolist(), groups, share)
        hits += made.low is not None and made.high is not None and made.low <= true <= made.high
    assert 0.93 <= hits / rounds <= 0.98


def test_a_perfect_score_of_few_prompts_is_not_certain() -> None:
    made = estimate([1.0] * 8, [str(n // 2) for n in range(8)], True)
    assert made.mean == made.high == 1 and made.low is not None and made.low < 0.6
