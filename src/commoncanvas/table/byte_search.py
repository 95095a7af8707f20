"""Search all files of a table for bytes of images that were taken down.

A tombstone stores only hashes of a few 64-byte windows per image, and nothing of the image itself. The hash is Rabin
and Karp's (https://doi.org/10.1147/rd.312.0249), modulo 2**64, of all windows of a file at once. The time doesn't grow
with the number of images.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

WINDOW = 64
"""Bytes of a window: a power of two."""
WINDOWS = 8
"""Windows per image. Lance may split a large value in two, and a window across the split isn't found."""
BLOCK = 1 << 17
"""Bytes hashed at a time: they fit into a processor's cache."""
_FACTOR = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint64]


def rolling(data: bytes | memoryview) -> Hashes:
    """The hash of each window of `data`, [len(data) - 63]; empty if `data` is shorter than one window."""
    hashes = np.frombuffer(data, np.uint8).astype(np.uint64) + np.uint64(1)
    if len(hashes) < WINDOW:
        return np.empty(0, np.uint64)
    width, factor = 1, _FACTOR
    while width < WINDOW:
        # A window consists of two windows of half its width.
        hashes = hashes[:-width] * np.uint64(factor) + hashes[width:]
        width, factor = 2 * width, factor * factor % 2**64
    return hashes


def windows(image: bytes) -> list[int]:
    """Hashes of WINDOWS windows across an image's stored bytes. The first quarter is left out, because it is often the
    same in files of one format.
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
        # This table rules out nearly all hashes of a file. It has 64 entries per wanted hash.
        bits = min(max((64 * len(self.wanted)).bit_length(), 16), 28)
        self._shift = np.uint64(64 - bits)
        self._first = np.zeros(1 << bits, np.bool_)
        self._first[self.wanted >> self._shift] = True

    def __call__(self, chunks: Iterable[bytes]) -> set[int]:
        """The wanted windows in the joined chunks."""
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
        found: list[int] = maybe[self.wanted[np.minimum(places, len(self.wanted) - 1)] == maybe].tolist()
        return found
