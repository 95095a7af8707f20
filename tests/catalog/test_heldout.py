"""Held-out images and nested fractions: pure functions of the ids."""

from __future__ import annotations

import random
from itertools import compress

from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.selection.heldout import fraction_count, fraction_mask, heldout_mask

IDS = st.lists(st.text(max_size=12), unique=True, max_size=200)
FRACTIONS = st.floats(0, 1, exclude_min=True)
SEEDS = st.integers(0, 2**32)


def chosen(ids: list[str], fraction: float, seed: int) -> set[str]:
    return set(compress(ids, fraction_mask(ids, fraction, seed)))


@given(IDS, FRACTIONS, FRACTIONS, SEEDS)
def test_a_smaller_fraction_lies_within_a_larger_one(
    ids: list[str], one: float, other: float, seed: int
) -> None:
    smaller, larger = sorted((one, other))
    assert chosen(ids, smaller, seed) <= chosen(ids, larger, seed)


@given(IDS, FRACTIONS, SEEDS)
def test_a_fraction_has_the_number_of_images_nearest_to_it(
    ids: list[str], fraction: float, seed: int
) -> None:
    count = len(chosen(ids, fraction, seed))
    assert count == fraction_count(len(ids), fraction)
    assert abs(count - fraction * len(ids)) <= 0.5


@given(IDS, FRACTIONS, SEEDS, st.randoms())
def test_a_fraction_does_not_depend_on_the_order_of_the_images(
    ids: list[str], fraction: float, seed: int, order: random.Random
) -> None:
    shuffled = ids.copy()
    order.shuffle(shuffled)
    assert chosen(ids, fraction, seed) == chosen(shuffled, fraction, seed)


@given(IDS, SEEDS)
def test_the_whole_is_the_whole(ids: list[str], seed: int) -> None:
    assert chosen(ids, 1.0, seed) == set(ids)


def test_another_seed_draws_other_images_and_being_held_out_has_no_part_in_it() -> None:
    ids = [f"shapes:{number}" for number in range(2000)]
    first, second = chosen(ids, 0.5, 0), chosen(ids, 0.5, 1)
    held = set(compress(ids, heldout_mask(ids, 0.5)))
    # Half of a half by chance: 500, give or take three standard deviations of the hypergeometric distribution.
    assert abs(len(first & second) - 500) < 34
    assert abs(len(first & held) - len(held) / 2) < 34


@given(IDS, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_what_is_held_out_stays_so_at_a_larger_share(ids: list[str], one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert not (heldout_mask(ids, smaller) & ~heldout_mask(ids, larger)).any()
