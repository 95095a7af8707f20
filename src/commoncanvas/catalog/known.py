"""Which image ids a table has, in little memory: so that an import of millions of rows adds each once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Fingerprints = tuple[NDArray[np.uint64], NDArray[np.uint32]]


class KnownIds:
    """A set of ids as 96-bit fingerprints, 12 bytes each; that any two of 10^8 look alike has a chance of 10^-13.

    Runs of growing size, each sorted, as in a log-structured merge tree: adding stays cheap however many there are.
    """

    def __init__(self) -> None:
        self._runs: list[Fingerprints] = []

    def __len__(self) -> int:
        return sum(len(first) for first, _ in self._runs)

    def add(self, ids: Sequence[str]) -> None:
        run = _sorted(_fingerprints(ids))
        while self._runs and len(self._runs[-1][0]) < 2 * len(run[0]):
            other = self._runs.pop()
            run = _sorted((np.concatenate([other[0], run[0]]), np.concatenate([other[1], run[1]])))
        self._runs.append(run)

    def contains(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """[N] True where an id is in the set."""
        wanted_first, wanted_second = _fingerprints(ids)
        found = np.zeros(len(ids), bool)
        for first, second in self._runs:
            if not len(first):
                continue
            at = np.searchsorted(first, wanted_first)
            candidates = np.ones(len(ids), bool)
            # One step nearly always: neighbours that share the first 64 bits are a matter of chance.
            while candidates.any():
                candidates &= at < len(first)
                here = np.minimum(at, len(first) - 1)
                candidates &= first[here] == wanted_first
                found |= candidates & (second[here] == wanted_second)
                at += 1
        return found


def _fingerprints(ids: Sequence[str]) -> Fingerprints:
    """By Python's own keyed hash (SipHash), whose key is another in every process: nobody can prepare collisions."""
    first = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
    second = np.fromiter((hash("#" + one) & 0xFFFFFFFF for one in ids), np.uint32, len(ids))
    return first, second


def _sorted(run: Fingerprints) -> Fingerprints:
    order = np.argsort(run[0], kind="stable")
    return run[0][order], run[1][order]
