"""Sets of image ids in little memory, so that an import of any size adds each id once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fingerprints = tuple[NDArray[np.uint64], NDArray[np.uint32]]


BITS = 4
"""A set has 2**BITS parts, by the highest bits. A search or a merge holds one part in memory at a time."""
SPILLED = 1 << 20
"""Ids that a set keeps in memory before it writes them to disk."""
FILTER_BITS = 28
"""Each id on disk sets one of 2**FILTER_BITS bits. With 10^7 ids on disk, 4 in 100 new ids need a search on disk."""


class KnownIds:
    """A set of ids as 96-bit fingerprints, 12 bytes each. The chance that any two of 10^8 ids collide is 10^-13.

    The ids are in sorted runs of growing size, as in a log-structured merge tree, so adding stays cheap. The newest
    runs are in memory, up to SPILLED ids. The others are in unnamed temporary files, which vanish with the process.
    """

    def __init__(self) -> None:
        self._recent: list[Fingerprints] = []
        self._spilled: list[_Spilled] = []
        self._filter = np.empty(0, np.uint8)

    def __len__(self) -> int:
        return sum(map(len, self._spilled)) + self._in_memory

    @property
    def _in_memory(self) -> int:
        return sum(len(first) for first, _ in self._recent)

    def add(self, ids: Sequence[str]) -> None:
        """Raises OSError when the disk is full."""
        self._add(_sorted(_fingerprints(ids)))

    def take_in(self, others: KnownIds) -> None:
        """Add all of `others`. They must be in memory."""
        assert not others._spilled
        for run in others._recent:
            self._add(run)

    def _add(self, run: Fingerprints) -> None:
        if not len(run[0]):
            return
        while self._recent and len(self._recent[-1][0]) < 2 * len(run[0]):
            run = _sorted(_joined(self._recent.pop(), run))
        self._recent.append(run)
        if self._in_memory >= SPILLED:
            self._spill()

    def _spill(self) -> None:
        if not len(self._filter):
            self._filter = np.zeros(1 << (FILTER_BITS - 3), np.uint8)
        for first, _ in self._recent:
            np.bitwise_or.at(self._filter, *_bits(first))
        size = self._in_memory
        merged: list[_Spilled] = []
        while self._spilled and len(self._spilled[-1]) < 2 * size:
            merged.append(self._spilled.pop())
            size += len(merged[-1])
        recent = [_split(run) for run in self._recent]
        parts = (
            _sorted(_joined(*(run[part] for run in recent), *(run.part(part) for run in merged)))
            for part in range(1 << BITS)
        )
        self._spilled.append(_Spilled(parts))
        self._recent = []

    def contains(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """[N] True for ids in the set."""
        wanted = _fingerprints(ids)
        order = np.argsort(wanted[0], kind="stable")
        wanted = wanted[0][order], wanted[1][order]
        known = np.zeros(len(ids), bool)
        for run in self._recent:
            known |= _in_run(run, wanted)
        if self._spilled:
            byte, bit = _bits(wanted[0])
            maybe = np.flatnonzero(self._filter[byte] & bit)
            split = _split((wanted[0][maybe], wanted[1][maybe]))
            for spilled in self._spilled:
                known[maybe] |= np.concatenate([spilled.has(part, some) for part, some in enumerate(split)])
        found = np.empty(len(ids), bool)
        found[order] = known
        return found


class Seen:
    """A set of ids that are added one by one: 32 MB of memory, and 12 bytes per id on disk (see KnownIds)."""

    def __init__(self) -> None:
        # One bit per id: if it is not set, the id is new. Else a search decides.
        self._bits = bytearray(1 << (FILTER_BITS - 3))
        self._recent: set[str] = set()
        self._known = KnownIds()

    def first(self, id: str) -> bool:
        """Add `id`; True if it is new."""
        place = hash(id) & ((1 << FILTER_BITS) - 1)
        bit = 1 << (place & 7)
        if self._bits[place >> 3] & bit and (id in self._recent or self._known.contains([id]).any()):
            return False
        self._bits[place >> 3] |= bit
        self._recent.add(id)
        if len(self._recent) >= SPILLED >> 4:
            self._known.add(list(self._recent))
            self._recent.clear()
        return True


class _Spilled:
    """A sorted run in two files: the first 64 bits of all fingerprints, and the other 32 bits."""

    def __init__(self, parts: Iterable[Fingerprints]) -> None:
        """`parts`: the parts of the run in order. One at a time is in memory."""
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        ends = [0]
        for first, second in parts:
            first.tofile(self._files[0])
            second.tofile(self._files[1])
            ends.append(ends[-1] + len(first))
        self._slices = list(pairwise(ends))
        for file in self._files:
            file.flush()

    def __len__(self) -> int:
        return self._slices[-1][1]

    def part(self, number: int) -> Fingerprints:
        """Part `number`, memory-mapped."""
        start, end = self._slices[number]
        if start == end:  # an empty range can't be mapped
            return np.empty(0, np.uint64), np.empty(0, np.uint32)
        return self._mapped(0, np.uint64, start, end), self._mapped(1, np.uint32, start, end)

    def has(self, number: int, wanted: Fingerprints) -> NDArray[np.bool_]:
        """[N] Which of the sorted `wanted` part `number` has."""
        return _in_run(self.part(number) if len(wanted[0]) else wanted, wanted)

    def _mapped(self, file: int, dtype: Any, start: int, end: int) -> NDArray[Any]:
        offset = start * np.dtype(dtype).itemsize
        return np.memmap(self._files[file], dtype, "r", offset, (end - start,)).view(np.ndarray)


class KnownRows:
    """Finds rows by id, in 12 bytes per row. It compares only 32 bits of each id's fingerprint.

    So it may return another row too, though rarely among 10^8 rows. Callers read the rows and compare the ids.
    """

    def __init__(self, batches: Iterable[tuple[Sequence[str], NDArray[np.uint64]]]) -> None:
        """`batches`: pairs of ids and their row ids."""
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
                        # Resize in place: joining many small arrays would take twice the memory.
                        array.resize(counts[number] * 9 // 8, refcheck=False)
                    array[start : counts[number]] = values[chosen]
        # Sort one part at a time, because a sort takes twice the memory.
        self._parts = [_sorted_rows(*parts.pop(0), count) for count in counts]

    def __len__(self) -> int:
        return sum(len(prints) for prints, _ in self._parts)

    def candidates(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        """Distinct row ids in ascending order. All rows with one of `ids` are included."""
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


def _in_run(run: Fingerprints, wanted: Fingerprints) -> NDArray[np.bool_]:
    """[N] Which of the sorted `wanted` are in the sorted `run`."""
    (first, second), (wanted_first, wanted_second) = run, wanted
    found = np.zeros(len(wanted_first), bool)
    at = np.searchsorted(first, wanted_first)
    candidates = np.full(len(found), len(first) > 0)
    # This takes nearly always one step: two ids rarely share the first 64 bits.
    while candidates.any():
        candidates &= at < len(first)
        here = np.minimum(at, len(first) - 1)
        candidates &= first[here] == wanted_first
        found |= candidates & (second[here] == wanted_second)
        at += 1
    return found


def _bits(first: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """[N] Each id's byte in the filter, and its bit there. Uses the lowest bits, as the parts use the highest."""
    place = first & np.uint64((1 << FILTER_BITS) - 1)
    return (place >> np.uint64(3)).astype(np.intp), np.uint8(1) << (place & np.uint64(7)).astype(np.uint8)


def _joined(*runs: Fingerprints) -> Fingerprints:
    return np.concatenate([first for first, _ in runs]), np.concatenate([second for _, second in runs])


def _split(run: Fingerprints) -> list[Fingerprints]:
    """Split a sorted run by its highest BITS bits."""
    edges = np.arange(1, 1 << BITS, dtype=np.uint64) << np.uint64(64 - BITS)
    cuts = np.searchsorted(run[0], edges)
    return list(zip(np.split(run[0], cuts), np.split(run[1], cuts), strict=True))


def _fingerprints(ids: Sequence[str]) -> Fingerprints:
    """By Python's keyed hash (SipHash). Its key differs in every process, so nobody can prepare collisions."""
    first = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
    second = np.fromiter(map(hash, map("#".__add__, ids)), np.int64, len(ids))
    return first, second.astype(np.uint32)


def _sorted(run: Fingerprints) -> Fingerprints:
    order = np.argsort(run[0], kind="stable")
    return run[0][order], run[1][order]
