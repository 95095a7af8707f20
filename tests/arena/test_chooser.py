"""Which pair is next: balanced, undecided first, and each check once in its block."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from commoncanvas.arena.chooser import NOISE, Chooser, Pair, check_at
from commoncanvas.arena.statistics.decisions import decide, family_alpha
from commoncanvas.arena.statistics.sequences import moments
from commoncanvas.arena.statistics.tables import PEOPLE, table
from commoncanvas.arena.votes import Vote

ANSWERS = st.sampled_from(["left", "right", "both", "neither"])


def pairs(models: int, prompts: int, categories: int) -> list[Pair]:
    names = [f"model-{number}" for number in range(models)]
    every = [(two, prompt) for two in combinations(names, 2) for prompt in range(prompts)]
    return [
        Pair(number, f"pair {number}", "a", "b", two, f"{prompt}", "text", f"kind {prompt % categories}")
        for number, (two, prompt) in enumerate(every, 1)
    ]


def chooser(models: int = 3, prompts: int = 12, categories: int = 3, seed: int = 0) -> Chooser:
    made = Chooser(seed)
    made.add(pairs(models, prompts, categories))
    return made


@given(st.integers(2, 4), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_a_person_sees_each_pair_once_and_all_of_them(
    models: int, prompts: int, categories: int, seed: int
) -> None:
    made, seen = chooser(models, prompts, categories, seed), set()
    while (pair := made.choose("ann", len(seen), seen)) is not None:
        assert pair.number not in seen
        seen.add(pair.number)
        made.show(pair.number)
    assert len(seen) == len(made.pairs)


@given(st.integers(0, 99), st.integers(5, 30))
def test_pairs_categories_and_sides_are_balanced_among_people(seed: int, people: int) -> None:
    made = chooser(seed=seed)
    sides: dict[int, list[bool]] = {}
    for person in range(people):
        seen: set[int] = set()
        for turn in range(9):
            pair = made.choose(f"person {person}", turn, seen)
            assert pair is not None
            sides.setdefault(pair.number, []).append(made.swapped(pair))
            seen.add(pair.number)
            made.show(pair.number)
    for counts in (
        [len(sides.get(pair.number, ())) for pair in made.pairs],
        [group.shown for group in made.groups.values()],
        [shown for group in made.groups.values() for shown in group.shown_in.values()],
    ):
        assert max(counts) - min(counts) <= 2
    assert all(abs(2 * sum(each) - len(each)) <= 1 for each in sides.values())


def test_order_and_sides_depend_on_the_seed_alone() -> None:
    def walk(seed: int) -> list[tuple[int, bool]]:
        made, found = chooser(seed=seed), []
        while (pair := made.choose("ann", len(found), {number for number, _ in found})) is not None:
            found.append((pair.number, made.swapped(pair)))
            made.show(pair.number)
        return found

    assert walk(1) == walk(1) != walk(2)
    assert 0.2 < sum(swapped for _, swapped in walk(1)) / len(walk(1)) < 0.8


def test_models_that_are_still_undecided_are_asked_first() -> None:
    made = chooser(prompts=30)
    for pair in made.pairs:
        decided = pair.models == ("model-0", "model-1")
        for person in range(40):
            answer = "left" if decided or (person + pair.number) % 2 else "right"
            made.count(pair.number, answer, swapped=False, rater=f"person {person}")
    seen: set[int] = set()
    asked = []
    while (pair_ := made.choose("ann", len(seen), seen)) is not None:
        seen.add(pair_.number)
        asked.append(pair_.models)
        made.show(pair_.number)
    assert ("model-0", "model-1") not in asked[:60] and set(asked[60:]) == {("model-0", "model-1")}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.floats(0, 1), st.integers(2, 25), st.integers(2, 25), st.integers(1, 1500))
def test_a_pair_is_decided_for_the_chooser_when_it_is_for_a_report(
    seed: int, rate: float, raters: int, prompts: int, count: int
) -> None:
    made, draw, votes = chooser(models=2, prompts=prompts), random.Random(seed), []
    for _ in range(count):
        pair, rater = made.pairs[draw.randrange(prompts)], f"person {draw.randrange(raters)}"
        answer = "both" if draw.random() < 0.2 else "left" if draw.random() < rate else "right"
        made.count(pair.number, answer, swapped=False, rater=rater)
        votes.append(
            Vote(
                rater,
                pair.id,
                pair.prompt,
                "",
                *pair.models,
                "preference",
                answer,
                check="",
                right_answer="",
                at="",
            )
        )
    (group,) = made.groups.values()
    found = decide(table(votes), 0, 1)
    assert (group.votes.urgency(family_alpha(2)) <= 1) == (found.winner is not None)
    kept = moments(table(votes).scores, table(votes).clusters(PEOPLE)).at(np.array([count - 1]))
    now = group.votes.moments()
    assert np.allclose(now.total, kept.total) and now.count == kept.count[0]
    assert np.allclose(np.array(now.ways).ravel(), np.array(kept.ways).ravel())


def test_the_widest_of_undecided_pairs_is_asked_first() -> None:
    made = chooser(prompts=30)
    for pair in made.pairs:
        for person in range({"model-0": 20, "model-1": 12}[pair.models[0]]):
            answer = "left" if (person + pair.number) % 2 else "right"
            made.count(pair.number, answer, swapped=False, rater=f"person {person}")
    found = made.choose("ann", 0, ())
    assert found is not None and found.models == ("model-1", "model-2")


@given(st.lists(st.tuples(st.integers(1, 36), ANSWERS, st.booleans()), max_size=40))
def test_an_answer_that_is_taken_back_leaves_no_trace(votes: list[tuple[int, str, bool]]) -> None:
    made = chooser()
    for number, answer, swapped in votes:
        made.count(number, answer, swapped, "ann")
    assert sum(each.votes.count for each in made.groups.values()) == len(votes)
    for number, answer, swapped in reversed(votes):
        made.count(number, answer, swapped, "ann", by=-1)
    assert all(group.votes.count == 0 and not np.any(group.votes.sums) for group in made.groups.values())


def test_a_vote_counts_for_the_model_that_was_on_that_side() -> None:
    made = chooser(models=2)
    made.count(1, "left", swapped=False, rater="ann")
    made.count(1, "right", swapped=True, rater="bob")
    made.count(1, "left", swapped=True, rater="cat")
    group = made.groups["model-0", "model-1"]
    assert (group.votes.total, group.votes.count) == (2, 3)


@given(st.integers(0, 999), st.text(max_size=9), st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_each_block_has_one_check_of_each_kind_and_none_comes_first(
    seed: int, rater: str, share: float
) -> None:
    size = max(4, round(2 / share))
    kinds = [check_at(seed, rater, number, share) for number in range(5 * size)]
    for block in range(5):
        assert Counter(kinds[block * size : (block + 1) * size])["noise"] == 1
        assert Counter(kinds[block * size : (block + 1) * size])["repeat"] == 1
    assert kinds[0] == "" and check_at(seed, rater, 3, 0.0) == ""


def test_pairs_that_come_later_are_asked_first_and_known_ones_stay() -> None:
    made = chooser(models=2)
    for pair in made.pairs:
        made.show(pair.number)
        made.count(pair.number, "both", swapped=False, rater="ann")
    more = [Pair(99, "new", "a", "c", ("model-0", "model-9"), "1", "text", "another kind")]
    made.add([*made.pairs, *more, Pair(100, "noise", "a", "n", ("model-0", NOISE), "1", "text", "kind 1")])
    chosen = made.choose("ann", 0, ())
    assert chosen == more[0] and made.shown.tolist() == [1] * 12 + [0, 0]
    assert made.choose_noise("ann", 0, ()) == made.pairs[-1] and made.choose_noise("ann", 0, {100}) is None
