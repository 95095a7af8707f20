"""What is left on disk of images that were taken down: every file of a table is read and searched for their bytes.

Of each image a few 64-byte windows are known by their hash only, so nothing of the image itself has to be kept. The
hash is Rabin and Karp's (https://doi.org/10.1147/rd.312.0249), modulo 2**64, of all windows of a file at once: the time
doesn't grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WINDOW = 64
"""Bytes of a window: a power of two."""
WINDOWS = 8
"""An image has so many: Lance may break a large value in two, and a window that lies across the break isn't found."""
BLOCK = 1 << 17
"""Hashed at once: what fits a processor's cache."""
_FACTOR = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint64]


def rolling(data: bytes | memoryview) -> Hashes:
    """The hash of each window of `data`, [len(data) - 63]; empty if it is shorter than one."""
    hashes = np.frombuffer(data, np.uint8).astype(np.uint64) + np.uint64(1)
    if len(hashes) < WINDOW:
        return np.empty(0, np.uint64)
    width, factor = 1, _FACTOR
    while width < WINDOW:
        # A window is two of half the width.
        hashes = hashes[:-width] * np.uint64(factor) + hashes[width:]
        width, factor = 2 * width, factor * factor % 2**64
    return hashes


def windows(image: bytes) -> list[int]:
    """Hashes of WINDOWS windows spread over an image's stored bytes; none of the first quarter, where many files of one
    kind are the same.
    """
    if len(image) < WINDOW:
        return []
    last = len(image) - WINDOW
    places = np.unique(np.linspace(last // 4, last, WINDOWS).astype(int))
    return [int(rolling(image[place : place + WINDOW])[0]) for place in places]


class Search:
    """Looks for windows in streams of bytes."""

    def __init__(self, wanted: Iterable[int]) -> None:
        self.wanted = np.unique(np.array(list(wanted), np.uint64))
        # Nearly all hashes of a file are sorted out by one look into this table, 64 places for each that is wanted.
        bits = min(max((64 * len(self.wanted)).bit_length(), 16), 28)
        self._shift = np.uint64(64 - bits)
        self._first = np.zeros(1 << bits, np.bool_)
        self._first[self.wanted >> self._shift] = True

    def __call__(self, chunks: Iterable[bytes]) -> set[int]:
        """The wanted windows that the chunks, put together, hold."""
        found: set[int] = set()
        rest = b""
        for chunk in chunks:
            data = memoryview(rest + chunk)
            for start in range(0, len(data) - WINDOW + 1, BLOCK):
                found.update(self._in(rolling(data[start : start + BLOCK + WINDOW - 1])))
            rest = bytes(data[-(WINDOW - 1) :])
        return found

    def _in(self, hashes: Hashes) -> list[int]:
        maybe = hashes[self._first[hashes >> self._shift]]
        if not len(maybe):
            return []
        places = np.searchsorted(self.wanted, maybe)
        there: list[int] = maybe[self.wanted[np.minimum(places, len(self.wanted) - 1)] == maybe].tolist()
        return there
