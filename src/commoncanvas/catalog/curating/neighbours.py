"""64-bit hashes that differ in few bits: their groups, and which row represents which.

The 64 bits are split into `blocks`. Two hashes that differ in at most `distance` bits agree in at least
`blocks - distance` whole blocks. So hashes are sorted once for each choice of that many blocks, and only hashes that
agree in them are compared (Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007). The search
is exact. More blocks mean more sorts but fewer comparisons; the cheapest number is estimated from the hashes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import CatalogError

MAX_DISTANCE = 16
"""Above it the chosen blocks have few bits, so that large parts of the table are compared with each other."""

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
Same = Callable[[int, Rows], NDArray[np.bool_]]

_LARGE_BUCKET = 512
_KEY_BITS = 32  # a sorted 64-bit value holds the key and the row number
_ROW_BITS = np.uint64(32)
_ROW_MASK = np.uint64((1 << 32) - 1)
# Nanoseconds to sort a row and to compare a pair, for the choice of blocks; only the ratio matters.
_SORT_NS, _COMPARE_NS = 60, 12


def near_groups(hashes: Hashes, distance: int) -> Rows:
    """[N] hashes -> [N] group of each hash. Steps of at most `distance` bits connect the hashes of a group.

    A group's number is its smallest index. Many equal or similar hashes don't make it slower.
    Raises CatalogError for a distance below 0 or above 16.
    """
    _check(distance)
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    group = np.arange(len(unique))
    for rows, ends in _tables(unique, distance, _choose_blocks(unique, distance)):
        sizes = ends - np.arange(len(rows))
        # A new bucket starts where the end changes.
        starts = np.flatnonzero(np.diff(ends, prepend=-1) != 0)
        large = starts[sizes[starts] > _LARGE_BUCKET]
        buckets = [rows[start : ends[start]] for start in large]
        apart = [bucket for bucket in buckets if (group[bucket] != group[bucket[0]]).any()]
        edges = [_flood(unique, bucket, distance) for bucket in apart]
        if buckets:
            rows, ends = _without(rows, ends, np.isin(ends, ends[large]))
        edges += [(rows[left], rows[right]) for left, right in _compared(unique[rows], ends, distance)]
        if edges:
            group = _joined(group, *map(np.concatenate, zip(*edges, strict=True)))
    smallest = np.full(len(unique), len(hashes))
    np.minimum.at(smallest, group, first)
    return smallest[group][inverse]


def stand_ins(hashes: Hashes, distance: int, same: Same | None = None) -> Rows:
    """[N] hashes, best row first -> [N] the row that represents each; a kept row represents itself.

    In order, a row is kept unless it is within `distance` bits of a kept row; the best such row represents it. So a
    chain of near rows alone drops nothing. `same(row, others)` can check which rows with near hashes really show the
    same. Raises CatalogError as `near_groups` does.
    """
    groups = near_groups(hashes, distance)
    order = np.argsort(groups, kind="stable")
    result = np.arange(len(hashes))
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    for start, end in pairwise(bounds):
        left = order[start:end]
        while len(left) > 1:
            best = left[0]
            near = np.bitwise_count(hashes[left] ^ hashes[best]) <= distance
            if same is not None:
                near[near] = same(best, left[near])
                near[0] = True
            result[left[near]] = best
            left = left[~near]
    return result


def _check(distance: int) -> None:
    if not 0 <= distance <= MAX_DISTANCE:
        raise CatalogError(f"distance {distance} is not one of: 0 to {MAX_DISTANCE} bits of 64")


def _bounds(blocks: int) -> list[int]:
    return [round(64 * block / blocks) for block in range(blocks + 1)]


def _choose_blocks(hashes: Hashes, distance: int) -> int:
    """The number of blocks with the least estimated work; one choice of blocks is sorted as a sample."""
    costs: dict[int, float] = {}
    for blocks in range(distance + 1, 2 * distance + 2):
        agreeing = blocks - distance
        bounds = _bounds(blocks)
        chosen = tuple(range(0, blocks, math.ceil(blocks / agreeing)))
        chosen = chosen if len(chosen) == agreeing else tuple(range(agreeing))
        widest = max(bounds[block + 1] - bounds[block] for block in range(blocks)) * agreeing
        if widest > _KEY_BITS and blocks > distance + 1:
            break
        _, ends = _sorted(hashes, chosen, bounds)
        compared = float((ends - np.arange(len(hashes)) - 1).sum())
        costs[blocks] = math.comb(blocks, agreeing) * (_SORT_NS * len(hashes) + _COMPARE_NS * compared)
    return min(costs, key=lambda blocks: costs[blocks])


def _tables(hashes: Hashes, distance: int, blocks: int) -> Iterator[tuple[Rows, Rows]]:
    """For each choice of blocks: the rows sorted by them, and for each row the end of its bucket."""
    if distance == 0 or len(hashes) < 2:
        return  # the hashes are distinct
    bounds = _bounds(blocks)
    for chosen in combinations(range(blocks), blocks - distance):
        yield _sorted(hashes, chosen, bounds)


def _sorted(hashes: Hashes, chosen: tuple[int, ...], bounds: list[int]) -> tuple[Rows, Rows]:
    keys = np.zeros(len(hashes), np.uint64)
    for block in chosen:
        width = bounds[block + 1] - bounds[block]
        # With distance 0 the one block shifts by 64 bits; numpy defines the result as 0, and nothing is compared.
        keys = (keys << np.uint64(width)) | (
            (hashes >> np.uint64(bounds[block])) & np.uint64((1 << width) - 1)
        )
    packed = np.sort((keys << _ROW_BITS) | np.arange(len(hashes), dtype=np.uint64))
    rows = (packed & _ROW_MASK).astype(np.int64)
    keys = packed >> _ROW_BITS
    starts = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, int)
    )
    sizes = np.diff(starts, append=len(keys))
    return rows, np.repeat(starts + sizes, sizes)


def _compared(hashes: Hashes, ends: Rows, distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Indices of the near pairs within each bucket; `hashes` are in bucket order."""
    left = np.flatnonzero(ends > np.arange(len(ends)) + 1)
    step = 1
    while len(left):
        right = left + step
        near = np.bitwise_count(hashes[left] ^ hashes[right]) <= distance
        if near.any():
            yield left[near], right[near]
        step += 1
        left = left[ends[left] > left + step]


def _flood(hashes: Hashes, bucket: Rows, distance: int) -> tuple[Rows, Rows]:
    """Edges that connect near rows in a large bucket (flood fill).

    A reached row is compared only with rows not reached yet. So thousands of nearly blank images need only one pass.
    """
    left: list[Rows] = []
    right: list[Rows] = []
    waiting = bucket
    while len(waiting):
        reached, waiting = waiting[:1], waiting[1:]
        while len(reached) and len(waiting):
            # As many rows at once as a 16 MB matrix allows: many small numpy calls would be slower.
            count = max(1, (1 << 21) // len(waiting))
            some, reached = reached[:count], reached[count:]
            near = np.bitwise_count(hashes[some, None] ^ hashes[waiting]) <= distance
            new = near.any(0)
            left.append(some[near[:, new].argmax(0)])
            right.append(waiting[new])
            reached = np.concatenate([reached, waiting[new]])
            waiting = waiting[~new]
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *left]), np.concatenate([empty, *right])


def _without(rows: Rows, ends: Rows, out: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Remove whole buckets from the sorted rows."""
    before = np.concatenate([[0], np.cumsum(out)])
    return rows[~out], (ends - before[ends])[~out]


def _joined(group: Rows, left: Rows, right: Rows) -> Rows:
    """[N] group of each row, below N -> [N] the groups after edges joined some of them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = group[left], group[right]
    differ = one != other
    graph = coo_array((differ[differ], (one[differ], other[differ])), shape=(len(group), len(group)))
    labels: Rows = connected_components(graph, directed=False)[1]
    return labels[group]
