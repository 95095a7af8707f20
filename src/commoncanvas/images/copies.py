"""Candidates for what a picture is a copy of, resized, recompressed or cropped a little, by perceptual hash. Pure.

A crop is undone as far as can be: the query is also hashed with its borders repeated outwards, in the splits of a
crop between two sides. And each bit counts by how sure it is: one that hangs on a coefficient near the median, as half
of a symmetric drawing's do, is chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import comb, log2

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CANDIDATES = 32

_CANVAS = 160
_PADS = ((0, 0), (8, 0), (4, 4), (0, 8))  # of 160 pixels: 5 % of a side, on one end, both, or the other
# A copy's coefficients are off by some 5 % of the picture's mean one after a crop, by 100 after recompression alone
# (of coefficients up to 500,000), and by what a shift of a fraction of one of the 32 pixels changes: whole pixels are
# cropped, and a symmetric drawing is no longer quite that. Errors are long-tailed: not even a large one is quite sure.
_CROP_ERROR, _NOISE, _SHIFT, _NEVER_SURE = 0.05, 100.0, 0.2, 0.01
_DOUBTFUL = 0.25
_FEWEST_BITS = 16
_CHANCE = 2.0**-12
"""Share of unrelated hashes that are looked at more closely, for each supposed crop."""
_SURE = 16.0
"""Evidence that makes a copy of one hash; of N hashes log2(N) more, so that chance does no more harm among many."""
_PIECE = 1 << 15

# DCT-II as ImageHash's phash takes it: 8 of 32 frequencies, not normalised.
_COSINES = 2 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)


@dataclass(frozen=True)
class Query:
    """What is looked for: hashes of a picture as it is and as it may have been."""

    hashes: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    """[V] the bits that count at first sight."""
    wrong: NDArray[np.float64]
    """[V, 64] the chance that a bit is not the original's, first bit first; up to 0.5."""


def make_query(image: NDArray[np.uint8]) -> Query:
    """uint8 [H, W, 3] -> its query."""
    grey = Image.fromarray(image).convert("L")
    inner: dict[tuple[int, int], NDArray[np.uint8]] = {}
    coefficients, shifted = [], []
    for (left, right), (top, bottom) in product(_PADS, repeat=2):
        variant = grey
        if left + right + top + bottom:
            size = (_CANVAS - left - right, _CANVAS - top - bottom)
            if size not in inner:
                inner[size] = np.asarray(grey.resize(size, Image.Resampling.LANCZOS))
            variant = Image.fromarray(np.pad(inner[size], ((top, bottom), (left, right)), mode="edge"))
        pixels = np.asarray(variant.resize((32, 32), Image.Resampling.LANCZOS), np.float64)
        coefficients.append(_coefficients(pixels))
        gradients = (np.gradient(pixels, axis=axis) for axis in (0, 1))
        shifted.append(sum(np.abs(_coefficients(one)) for one in gradients))
    values = np.array(coefficients)
    margins = values - np.median(values, axis=1, keepdims=True)
    # The first coefficient is the picture's brightness, which says nothing of how much there is to be seen.
    error = _NOISE + _CROP_ERROR * np.sqrt(np.square(values[:, 1:]).mean(1, keepdims=True))
    error = error + _SHIFT * np.array(shifted)
    wrong = np.maximum(_NEVER_SURE, np.exp(-np.abs(margins) / error) / 2)
    fewest = np.sort(wrong, axis=1)[:, _FEWEST_BITS - 1 : _FEWEST_BITS]
    return Query(_packed(margins > 0), _packed(wrong <= np.maximum(_DOUBTFUL, fewest)), wrong)


@dataclass(frozen=True)
class Candidate:
    """A hash that may be the query's: its index, the bits that differ, the bits that count."""

    index: int
    distance: int
    bits: int
    evidence: float
    """How many times likelier the hash is as the query's than by chance, the logarithm to base 2."""


def find_candidates(query: Query, hashes: NDArray[np.uint64], limit: int = CANDIDATES) -> list[Candidate]:
    """The `limit` most likely of [N] hashes, the most likely first; all N are compared."""
    bits = np.bitwise_count(query.masks)
    most = [_most_differing(int(count)) for count in bits]
    places: list[NDArray[np.int64]] = []
    variants: list[NDArray[np.int64]] = []
    # In pieces that stay in the processor's cache, one variant after the other.
    for start in range(0, len(hashes), _PIECE):
        piece = hashes[start : start + _PIECE]
        differing, counts = np.empty_like(piece), np.empty(len(piece), np.uint8)
        for variant in range(len(most)):
            np.bitwise_xor(piece, query.hashes[variant], out=differing)
            np.bitwise_and(differing, query.masks[variant], out=differing)
            np.bitwise_count(differing, out=counts)
            near = np.flatnonzero(counts <= most[variant])
            places.append(start + near)
            variants.append(np.full(len(near), variant))
    if not places:
        return []
    place, variant_of = np.concatenate(places), np.concatenate(variants)
    differing = hashes[place] ^ query.hashes[variant_of]
    agree, differ = np.log2(2 * (1 - query.wrong)), np.log2(2 * query.wrong)
    evidence = np.where(_unpacked(differing), differ[variant_of], agree[variant_of]).sum(1)
    order = np.lexsort((place, -evidence))
    order = order[np.sort(np.unique(place[order], return_index=True)[1])][:limit]
    counts = np.bitwise_count(differing & query.masks[variant_of])
    return [
        Candidate(
            int(place[one]),
            int(counts[one]),
            int(bits[variant_of[one]]),
            float(evidence[one]),
        )
        for one in order
    ]


def find_copy(query: Query, hashes: NDArray[np.uint64]) -> Candidate | None:
    """The one of [N] hashes that is surely the query's, where no pixels are left to compare. None if none is.

    Of a plain shape or a smooth gradient, whose hash says little, nothing is sure; of two drawings that differ in a
    detail, both are.
    """
    found = find_candidates(query, hashes, limit=1)
    return found[0] if found and found[0].evidence >= _SURE + log2(len(hashes)) else None


@cache
def _most_differing(bits: int) -> int:
    """How many of `bits` may differ, so that of unrelated hashes no more than _CHANCE pass."""
    chance, count = 0.5**bits, 0
    while chance <= _CHANCE:
        count += 1
        chance += comb(bits, count) * 0.5**bits
    return count - 1


def _coefficients(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """[32, 32] -> [64] what the bits of the perceptual hash are made of."""
    values: NDArray[np.float64] = (_COSINES @ pixels @ _COSINES.T).reshape(-1)
    return values


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[V, 64] bits, the first as the highest -> [V]."""
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _unpacked(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """[N] -> [N, 64] bits."""
    return np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(np.bool_)
