"""Find the original of a resized, recompressed or slightly cropped copy, by perceptual hash. Pure.

To reverse a crop, the query is also hashed with its borders extended, for several crops. Each bit has a weight: a bit
is uncertain if its coefficient is near the median, as for half of the bits of a symmetric drawing.
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
_PADS = ((0, 0), (8, 0), (4, 4), (0, 8))  # of 160 pixels: 5 % of a side, at one end, at both, or at the other
# Errors of a copy's coefficients: after a crop about 5 % of the picture's mean coefficient; after recompression about
# 100 (coefficients are up to 500,000); and the effect of a shift by a fraction of one of the 32 pixels, because crops
# remove whole pixels. Errors are long-tailed: even the bit of a large coefficient is not certain.
_CROP_ERROR, _NOISE, _SHIFT, _NEVER_SURE = 0.05, 100.0, 0.2, 0.01
_DOUBTFUL = 0.25
_FEWEST_BITS = 16
_CHANCE = 2.0**-12
"""Fraction of unrelated hashes that pass the first comparison, for each assumed crop."""
_SURE = 16.0
"""Evidence needed for a copy among one hash. Among N hashes, log2(N) is added, so that chance matches stay as rare."""
_PIECE = 1 << 15

# DCT-II as in ImageHash's phash: 8 of 32 frequencies, not normalised.
_COSINES = 2 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)


@dataclass(frozen=True)
class Query:
    """Hashes of a picture, and of its V variants with an assumed crop reversed."""

    hashes: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    """[V] the bits used in the first comparison."""
    wrong: NDArray[np.float64]
    """[V, 64] probability that a bit differs from the original's, up to 0.5; first bit first."""


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
    # The first coefficient is the picture's brightness. It says nothing about its structure.
    error = _NOISE + _CROP_ERROR * np.sqrt(np.square(values[:, 1:]).mean(1, keepdims=True))
    error = error + _SHIFT * np.array(shifted)
    wrong = np.maximum(_NEVER_SURE, np.exp(-np.abs(margins) / error) / 2)
    fewest = np.sort(wrong, axis=1)[:, _FEWEST_BITS - 1 : _FEWEST_BITS]
    return Query(_packed(margins > 0), _packed(wrong <= np.maximum(_DOUBTFUL, fewest)), wrong)


@dataclass(frozen=True)
class Candidate:
    """A hash that may match the query: its index, the number of different bits, the number of compared bits."""

    index: int
    distance: int
    bits: int
    evidence: float
    """log2 of the likelihood ratio: a copy of the query against chance."""


def find_candidates(query: Query, hashes: NDArray[np.uint64], limit: int = CANDIDATES) -> list[Candidate]:
    """The `limit` most likely of [N] hashes, most likely first. Compares all N."""
    bits = np.bitwise_count(query.masks)
    most = [_most_differing(int(count)) for count in bits]
    places: list[NDArray[np.int64]] = []
    variants: list[NDArray[np.int64]] = []
    # Compare in pieces that fit into the processor's cache, one variant after the other.
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
    """The one of [N] hashes that surely matches the query, when no pixels can be compared; None if none does.

    A plain shape or smooth gradient never matches, because its hash says little. Two drawings that differ only in a
    detail match each other.
    """
    found = find_candidates(query, hashes, limit=1)
    return found[0] if found and found[0].evidence >= _SURE + log2(len(hashes)) else None


@cache
def _most_differing(bits: int) -> int:
    """How many of `bits` may differ, so that at most a fraction _CHANCE of unrelated hashes passes."""
    chance, count = 0.5**bits, 0
    while chance <= _CHANCE:
        count += 1
        chance += comb(bits, count) * 0.5**bits
    return count - 1


def _coefficients(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """[32, 32] -> [64] coefficients of the perceptual hash."""
    values: NDArray[np.float64] = (_COSINES @ pixels @ _COSINES.T).reshape(-1)
    return values


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[V, 64] bits -> [V] hashes. The first bit becomes the highest."""
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _unpacked(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """[N] -> [N, 64] bits."""
    return np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(np.bool_)
