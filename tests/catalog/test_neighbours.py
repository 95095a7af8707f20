"""Near hashes: exactly what brute force finds, whatever the distance, however the hashes are heaped."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from commoncanvas.catalog.curating.neighbours import MAX_DISTANCE, near_groups, stand_ins
from commoncanvas.core.errors import CatalogError

Hashes = NDArray[np.uint64]


@st.composite
def heaps(draw: st.DrawFn) -> Hashes:
    """Hashes a few bits around a few centres, so that near ones are common and distances lie about the limit."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=10)
    drawn = draw(st.lists(st.tuples(st.sampled_from(centres), flips), max_size=60))
    values = []
    for centre, bits in drawn:
        for bit in bits:
            centre ^= 1 << bit
        values.append(centre)
    return np.array(values, np.uint64)


def matrix(hashes: Hashes, distance: int) -> NDArray[np.bool_]:
    return np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= distance


def brute_groups(near: NDArray[np.bool_]) -> list[int]:
    group = list(range(len(near)))
    changed = True
    while changed:
        best = [min(group[other] for other in np.flatnonzero(row)) for row in near]
        changed, group = best != group, best
    return group


@given(heaps(), st.integers(0, MAX_DISTANCE))
def test_the_groups_are_those_of_brute_force(hashes: Hashes, distance: int) -> None:
    assert near_groups(hashes, distance).tolist() == brute_groups(matrix(hashes, distance))


@given(heaps(), st.integers(0, MAX_DISTANCE), st.integers(0, 3))
def test_the_best_kept_row_stands_in_and_is_never_further_than_the_distance(
    hashes: Hashes, distance: int, colours: int
) -> None:
    colour = np.arange(len(hashes)) % (colours + 1)
    near = matrix(hashes, distance) & (colour[:, None] == colour[None, :])
    expected: list[int] = []
    for row in range(len(hashes)):
        kept = [other for other in range(row) if expected[other] == other and near[row, other]]
        expected.append(kept[0] if kept else row)
    found = stand_ins(hashes, distance, lambda row, others: colour[others] == colour[row])
    assert found.tolist() == expected


def spread(seed: int, count: int) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def heap(seed: int, count: int, flips: int) -> Hashes:
    """Around one centre."""
    bits = np.random.default_rng(seed).integers(0, 64, (flips, count)).astype(np.uint64)
    return np.bitwise_xor.reduce(np.uint64(1) << bits, axis=0)


@pytest.mark.parametrize("distance", [3, 6, 8])
def test_among_many_and_a_heap_larger_than_a_bucket_may_be_nothing_is_missed(distance: int) -> None:
    hashes = np.concatenate([spread(1, 3000), heap(2, 2500, 5)])
    hashes = np.concatenate([hashes, hashes[:500] ^ heap(3, 500, distance)])
    assert near_groups(hashes, distance).tolist() == brute_groups(matrix(hashes, distance))


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(513, 700), st.integers(1, 9))
def test_a_large_bucket_is_flooded_exactly(seed: int, count: int, distance: int) -> None:
    # All share their lower half: whatever the choice of blocks, many are in one bucket.
    hashes = heap(seed, count, 12) & np.uint64(0xFFFFFFFF00000000)
    assert near_groups(hashes, distance).tolist() == brute_groups(matrix(hashes, distance))


def test_a_heap_of_blank_images_costs_no_more_than_as_many_others() -> None:
    def seconds(hashes: Hashes) -> float:
        began = time.perf_counter()
        stand_ins(hashes, 6)
        return time.perf_counter() - began

    others = spread(4, 60_000)
    blank = np.concatenate([others[:10_000], np.zeros(20_000, np.uint64), heap(5, 30_000, 3)])
    # 50,000 that are near each other: 1.2 billion pairs.
    assert min(seconds(blank) for _ in range(2)) < 3 * min(seconds(others) for _ in range(2)) + 1


def test_a_chain_of_small_steps_does_not_give_up_its_far_end() -> None:
    hashes = np.array([(1 << bits) - 1 for bits in range(0, 64, 4)], np.uint64)
    assert len(set(near_groups(hashes, 6).tolist())) == 1
    kept = stand_ins(hashes, 6)
    assert (np.bitwise_count(hashes ^ hashes[kept]) <= 6).all()
    assert len(set(kept.tolist())) == 8


@pytest.mark.parametrize("distance", [-1, MAX_DISTANCE + 1])
def test_a_distance_that_can_not_be_found_is_said(distance: int) -> None:
    for find in (near_groups, stand_ins):
        with pytest.raises(CatalogError, match=f"distance {distance} is not one of: 0 to 16"):
            find(spread(0, 3), distance)
