"""Which image ids a table has, in little memory: so that an import of millions of rows adds each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fingerprints = tuple[NDArray[np.uint64], NDArray[np.uint32]]


BITS = 4
"""The set is in 2**BITS parts, by the highest bits: a merge takes room for one of them at a time."""


class KnownIds:
    """A set of ids as 96-bit fingerprints, 12 bytes each; that any two of 10^8 look alike has a chance of 10^-13.

    Each part has runs of growing size, each sorted, as in a log-structured merge tree: adding stays cheap however many
    there are.
    """

    def __init__(self) -> None:
        self._parts: list[list[Fingerprints]] = [[] for _ in range(1 << BITS)]

    def __len__(self) -> int:
        return sum(len(first) for runs in self._parts for first, _ in runs)

    def add(self, ids: Sequence[str]) -> None:
        for runs, run in zip(self._parts, _split(_sorted(_fingerprints(ids))), strict=True):
            if not len(run[0]):
                continue
            while runs and len(runs[-1][0]) < 2 * len(run[0]):
                other = runs.pop()
                run = _sorted((np.concatenate([other[0], run[0]]), np.concatenate([other[1], run[1]])))
            runs.append(run)

    def contains(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """[N] True where an id is in the set."""
        wanted = _fingerprints(ids)
        order = np.argsort(wanted[0], kind="stable")
        parts = _split((wanted[0][order], wanted[1][order]))
        found = np.empty(len(ids), bool)
        found[order] = np.concatenate(
            [_among(runs, part) for runs, part in zip(self._parts, parts, strict=True)]
        )
        return found


class KnownRows:
    """Which rows an id may be that of, in 12 bytes a row: those whose id has the same 32 bits of a fingerprint.

    That is the right one and, of 10^8, seldom another: whoever asks reads the rows anyway, with their ids.
    """

    def __init__(self, batches: Iterable[tuple[Sequence[str], NDArray[np.uint64]]]) -> None:
        """From batches of ids and as many row ids."""
        parts: list[tuple[NDArray[Any], NDArray[Any]]]
        parts = [(np.empty(0, np.uint32), np.empty(0, np.uint64)) for _ in range(1 << BITS)]
        counts = [0] * len(parts)
        for ids, row_ids in batches:
            short = _short(ids)
            given: tuple[NDArray[Any], NDArray[Any]] = short, row_ids
            at = short >> np.uint32(32 - BITS)
            for number, part in enumerate(parts):
                chosen = at == number
                start, counts[number] = counts[number], counts[number] + int(np.count_nonzero(chosen))
                for array, values in zip(part, given, strict=True):
                    if counts[number] > len(array):
                        # In place: many small arrays would leave as much again in holes when they are joined.
                        array.resize(counts[number] * 9 // 8, refcheck=False)
                    array[start : counts[number]] = values[chosen]
        # One part after the other, as the sort takes as much again.
        self._parts = [_sorted_rows(*parts.pop(0), count) for count in counts]

    def __len__(self) -> int:
        return sum(len(prints) for prints, _ in self._parts)

    def candidates(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        """Row ids, each once and in order, among which are all that rows with one of `ids` had."""
        wanted = np.unique(_short(ids))
        found = []
        for number, (prints, row_ids) in enumerate(self._parts):
            mine = wanted[wanted >> np.uint32(32 - BITS) == number]
            first, last = (np.searchsorted(prints, mine, side) for side in ("left", "right"))
            counts = last - first
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            found.append(row_ids[np.repeat(first, counts) + within])
        return np.unique(np.concatenate(found))


def _short(ids: Sequence[str]) -> NDArray[np.uint32]:
    return np.fromiter((hash(one) & 0xFFFFFFFF for one in ids), np.uint32, len(ids))


def _sorted_rows(
    prints: NDArray[np.uint32], row_ids: NDArray[np.uint64], count: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    order = np.argsort(prints[:count])
    return prints[order], row_ids[order]


def _among(runs: list[Fingerprints], wanted: Fingerprints) -> NDArray[np.bool_]:
    wanted_first, wanted_second = wanted
    found = np.zeros(len(wanted_first), bool)
    for first, second in runs:
        at = np.searchsorted(first, wanted_first)
        candidates = np.ones(len(found), bool)
        # One step nearly always: neighbours that share the first 64 bits are a matter of chance.
        while candidates.any():
            candidates &= at < len(first)
            here = np.minimum(at, len(first) - 1)
            candidates &= first[here] == wanted_first
            found |= candidates & (second[here] == wanted_second)
            at += 1
    return found


def _split(run: Fingerprints) -> list[Fingerprints]:
    """What is sorted, by its highest BITS bits."""
    edges = np.arange(1, 1 << BITS, dtype=np.uint64) << np.uint64(64 - BITS)
    cuts = np.searchsorted(run[0], edges)
    return list(zip(np.split(run[0], cuts), np.split(run[1], cuts), strict=True))


def _fingerprints(ids: Sequence[str]) -> Fingerprints:
    """By Python's own keyed hash (SipHash), whose key is another in every process: nobody can prepare collisions."""
    first = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
    second = np.fromiter((hash("#" + one) & 0xFFFFFFFF for one in ids), np.uint32, len(ids))
    return first, second


def _sorted(run: Fingerprints) -> Fingerprints:
    order = np.argsort(run[0], kind="stable")
    return run[0][order], run[1][order]
