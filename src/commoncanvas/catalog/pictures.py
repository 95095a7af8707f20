"""Finding one picture again by what it looks like, though it was resized, recompressed or cropped a little. Pure.

First by perceptual hash. A crop is undone as far as can be: the query is also hashed with its borders repeated
outwards, in the splits of a crop between two sides. And bits that hang on a coefficient near the median, as half of a
symmetric drawing's do, are chance, so they don't count. Then by comparing the pixels of what that finds.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.images.image import ImageError, decode

MAX_DIFFERENCE = 6.0
"""Root mean square, in levels of 255, up to which two aligned pictures are the same: over 99 % of photos at quality
60, halved, or cropped by 5 % stay below it (see benchmarks/lookup.py)."""
CANDIDATES = 32

_CANVAS = 160
_PADS = ((0, 0), (8, 0), (4, 4), (0, 8))  # of 160 pixels: 5 % of a side, on one end, both, or the other
_STRONG = 400.0  # of coefficients up to 500,000; what quality 60, halving and a crop move is less, mostly
_FEWEST_BITS = 24
# Standard deviations by which the bits that differ are fewer than the half that differ by chance. A share of the bits
# would take 3 of 24 for better than 10 of 64, which is a thousand times less likely to be chance.
_SURE = 4.4

_THUMBNAIL, _SMALL = 16, 64
_PIECE = 1 << 15
_CROPS = tuple(crop for crop in product((0.0, 0.0125, 0.025, 0.0375, 0.05), repeat=2) if sum(crop) <= 0.05)
_HOPELESS = 60.0

# DCT-II as ImageHash's phash takes it: 8 of 32 frequencies, not normalised.
_COSINES = 2 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)

Crop = tuple[float, float, float, float]


@dataclass(frozen=True)
class Query:
    """What is looked for: hashes of the picture as it is and as it may have been, and its thumbnail."""

    hashes: NDArray[np.uint64]
    masks: NDArray[np.uint64]
    """[V] the bits that count."""
    crops: tuple[Crop, ...]
    """[V] left, top, right and bottom shares of the original that each supposes to be missing."""
    thumbnail: NDArray[np.float32]
    """[16, 16, 3]"""


def make_query(image: NDArray[np.uint8]) -> Query:
    """uint8 [H, W, 3] -> its query."""
    grey = Image.fromarray(image).convert("L")
    hashes, masks, crops = [], [], []
    inner: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for (left, right), (top, bottom) in product(_PADS, repeat=2):
        variant = grey
        if left + right + top + bottom:
            size = (_CANVAS - left - right, _CANVAS - top - bottom)
            if size not in inner:
                inner[size] = np.asarray(grey.resize(size, Image.Resampling.LANCZOS))
            variant = Image.fromarray(np.pad(inner[size], ((top, bottom), (left, right)), mode="edge"))
        bits, margins = _coefficients(variant)
        hashes.append(_packed(bits))
        masks.append(_packed(margins >= min(_STRONG, np.sort(margins)[-_FEWEST_BITS])))
        crops.append((left / _CANVAS, top / _CANVAS, right / _CANVAS, bottom / _CANVAS))
    thumbnail = _resized(Image.fromarray(image), (0, 0, 0, 0))
    return Query(np.array(hashes, np.uint64), np.array(masks, np.uint64), tuple(crops), thumbnail)


@dataclass(frozen=True)
class Candidate:
    """A hash that may be the query's: its index, the bits that differ, the bits that count, the crop supposed."""

    index: int
    distance: int
    bits: int
    crop: Crop

    @property
    def sure(self) -> float:
        """Standard deviations away from chance."""
        return _sure(self.distance, self.bits)


def find_candidates(query: Query, hashes: NDArray[np.uint64], limit: int = CANDIDATES) -> list[Candidate]:
    """The `limit` most likely of [N] hashes, the most likely first; all N are compared."""
    bits = np.bitwise_count(query.masks)
    most = np.array([sum(_sure(count, int(of)) >= _SURE for count in range(of)) for of in bits]) - 1
    found: dict[int, Candidate] = {}
    # In pieces that stay in the processor's cache, one variant after the other.
    for start in range(0, len(hashes), _PIECE):
        piece = hashes[start : start + _PIECE]
        differing, counts = np.empty_like(piece), np.empty(len(piece), np.uint8)
        for variant, crop in enumerate(query.crops):
            np.bitwise_xor(piece, query.hashes[variant], out=differing)
            np.bitwise_and(differing, query.masks[variant], out=differing)
            np.bitwise_count(differing, out=counts)
            for place in np.flatnonzero(counts <= most[variant]).tolist():
                one = Candidate(start + place, int(counts[place]), int(bits[variant]), crop)
                before = found.get(one.index)
                if before is None or one.sure > before.sure:
                    found[one.index] = one
    return sorted(found.values(), key=lambda one: (-one.sure, one.index))[:limit]


def difference(query: Query, data: bytes, crop: Crop) -> float:
    """Root mean square between the query and the stored image `data` where they are aligned best, levels of 255.

    Begins with `crop`, then tries the crops of up to 5 % of the width and of the height. Infinite for an image that
    can't be decoded.
    """
    try:
        image = _small(data)
    except ImageError:
        return float("inf")
    left, top, right, bottom = crop
    best = _distance(query, image, crop)
    if best > _HOPELESS:
        return best
    for _ in range(2):
        for left_, right_ in _CROPS:
            tried = _distance(query, image, (left_, top, right_, bottom))
            if tried < best:
                best, left, right = tried, left_, right_
        for top_, bottom_ in _CROPS:
            tried = _distance(query, image, (left, top_, right, bottom_))
            if tried < best:
                best, top, bottom = tried, top_, bottom_
    return best


def _sure(distance: int, bits: int) -> float:
    return float((bits - 2 * distance) / math.sqrt(bits))


def _coefficients(grey: Image.Image) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """[64] bits of the perceptual hash, and how far from the median each one's coefficient is."""
    pixels = np.asarray(grey.resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    values = (_COSINES @ pixels @ _COSINES.T).reshape(-1)
    median = np.median(values)
    return values > median, np.abs(values - median)


def _packed(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes())


def _small(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "JPEG":
                image.draft("RGB", (2 * _SMALL, 2 * _SMALL))  # decodes an eighth of the pixels of 512
            return image.convert("RGB").resize((_SMALL, _SMALL), Image.Resampling.BOX)
    except OSError:
        return Image.fromarray(decode(data))  # says what is wrong


def _resized(image: Image.Image, crop: Crop) -> NDArray[np.float32]:
    # Not BOX: Pillow's takes whole pixels in or out, so that crops of less than one are not told apart.
    left, top, right, bottom = crop
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    return np.asarray(image.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR, box=box), np.float32)


def _distance(query: Query, image: Image.Image, crop: Crop) -> float:
    return float(np.sqrt(np.square(_resized(image, crop) - query.thumbnail).mean()))
