"""Whether two pictures are the same: align them, allowing for a crop, and compare them locally. Pure.

Recompression, resizing and a small crop change the whole picture a little. Variants of a drawing, such as another skin
tone or a hat, differ strongly in one place, but little on average. So two values count: the mean difference, and the
largest difference of any small square.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.core.errors import ImageError
from commoncanvas.images.image import decode

MAX_DIFFERENCE = 7.0
"""Largest root mean square difference of the same picture after alignment, in levels of 255."""
MAX_LOCAL_DIFFERENCE = 12.0
"""The same limit for each square of 3 x 3 of the 32 x 32 cells, in each colour, if a side has FINE pixels or more.
Copies of drawings reach 11 (one in 1,000 more); copies of 300-pixel photos 9. Skin tones differ by 25 or more."""
FINE = 256
"""Smaller pictures may differ up to twice as much: their cells have few pixels, and so more noise."""

_SMALL = 128  # pixels per side before cells are made
_SIDES = (16, 32)  # cells per side, from coarse to fine
_STEPS = 3
_HOPELESS = 40.0
_MOST = 0.055  # a crop of 5 %, rounded to whole pixels, can be a little more
_DAMPING = 1e-3

Cells = NDArray[np.float32]
Crop = NDArray[np.float64]
"""[4]: missing fractions of the original: left, top, right, bottom."""


@dataclass(frozen=True)
class Difference:
    """Root mean square differences between two aligned pictures, in levels of 255."""

    mean: float
    """Difference of the whole picture."""
    local: float
    """Largest difference of any square of 3 x 3 cells, in any colour."""
    allowed: float = MAX_LOCAL_DIFFERENCE
    """Limit for `local`."""

    @property
    def same(self) -> bool:
        return self.mean <= MAX_DIFFERENCE and self.local <= self.allowed


UNLIKE = Difference(float("inf"), float("inf"))


class Target:
    """A picture to align others with. It computes its own part of the alignment once."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """From uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        self._image = _reduced(Image.fromarray(image), width, height)
        self._limit = MAX_LOCAL_DIFFERENCE * min(2.0, max(1.0, FINE / min(width, height)))

    @cached_property
    def _levels(self) -> list[tuple[Cells, NDArray[np.float32]]]:
        """For each size: the cells, and the [4, cells] matrix from a change of cells to a change of the crop."""
        levels = []
        for side in _SIDES:
            cells = _cells(self._image, np.zeros(4), side)
            down, across = np.gradient(cells, axis=(0, 1))
            at = _inner((np.arange(side) + 0.5) / side)
            x, y = at[None, :, None], at[:, None, None]
            # How the cells change when one side of the crop moves: most at that edge, not at all at the opposite one.
            moves = np.stack([across * (1 - x), down * (1 - y), -across * x, -down * y], axis=-1) * side
            moves = moves.reshape(-1, 4)
            square = moves.T @ moves
            square += (_DAMPING * np.trace(square) / 4 + 1) * np.eye(4)
            levels.append((cells, np.linalg.solve(square, moves.T).astype(np.float32)))
        return levels

    def difference(self, data: bytes) -> Difference:
        """Difference to the stored image `data`, after the crop (up to 5 % of width and height) that fits best.

        It takes the best of a few crops and improves it by Gauss-Newton steps, from coarse to fine (Lucas, Kanade, "An
        iterative image registration technique", IJCAI 1981). It uses the target's gradients, since a match has nearly
        the same. UNLIKE for an image that can't be decoded.
        """
        try:
            image = _small(data)
        except ImageError:
            return UNLIKE
        coarse = _starts(image)
        means = np.square(coarse - self._levels[0][0]).mean((2, 3, 4))
        row, column = divmod(int(means.argmin()), len(_SPLITS))
        crop = np.array([_SPLITS[column], _SPLITS[row]]).T.reshape(-1)
        best, least = coarse[row, column] - self._levels[0][0], float(means.min())
        for side, (cells, solve) in zip(_SIDES, self._levels, strict=True):
            if least > _HOPELESS**2:
                break
            tried, least = crop, float("inf")
            for step in range(_STEPS + 1):
                change = _cells(image, tried, side) - cells
                mean = float(np.square(change).mean())
                if mean < least:
                    best, least, crop = change, mean, tried
                if step < _STEPS:
                    tried = _allowed(tried - solve @ change.reshape(-1))
        return Difference(math.sqrt(least), _local(best), self._limit)


def _allowed(crop: Crop) -> Crop:
    """Clip a crop to the picture and to the largest allowed crop."""
    crop = crop.clip(0, _MOST)
    over = (crop[:2] + crop[2:] - _MOST).clip(0)
    return (crop - np.tile(over, 2) / 2).clip(0)


def _local(change: Cells) -> float:
    squares = np.square(change)
    for axis in (0, 1):
        squares = np.lib.stride_tricks.sliding_window_view(squares, 3, axis).mean(-1)
    return math.sqrt(squares.max())


def _small(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if image.format == "JPEG":
                image.draft(
                    "RGB", (_SMALL, _SMALL)
                )  # of 512 pixels a side it decodes only a sixteenth of all
            # After `draft` the last column or row can cover fewer pixels than the others: count only those.
            factor = round(width / image.width)
            return _reduced(image.convert("RGB"), width / factor, height / factor)
    except OSError:
        pixels = decode(data)  # raises an error with a reason
        return _reduced(Image.fromarray(pixels), pixels.shape[1], pixels.shape[0])


def _reduced(image: Image.Image, width: float, height: float) -> Image.Image:
    box = (0, 0, width, height)
    return image.resize((_SMALL, _SMALL), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


def _cells(image: Image.Image, crop: Crop, side: int) -> Cells:
    """[side - 2, side - 2, 3] without the outer cells, where the filter reads pixels outside of the crop."""
    left, top, right, bottom = crop
    box = (left * _SMALL, top * _SMALL, (1 - right) * _SMALL, (1 - bottom) * _SMALL)
    # Not BOX: Pillow's BOX filter uses whole pixels, so crops of less than a pixel would look equal.
    cells = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return _inner(_inner(cells).swapaxes(0, 1)).swapaxes(0, 1)


def _inner(array: NDArray[Any]) -> NDArray[Any]:
    return array[1:-1]


# Missing fractions at the two ends of a side.
_SPLITS = tuple((first / 40, last / 40) for first in range(3) for last in range(3 - first))
_START = 64


def _start_filters() -> NDArray[np.float32]:
    """[splits, cells, 64] matrices that do what `_cells` does along one side; two products give all pairs of splits."""
    unit = Image.fromarray(np.eye(_START, dtype=np.float32))
    rows = [
        unit.resize(
            (_SIDES[0], _START),
            Image.Resampling.BILINEAR,
            box=(first * _START, 0, (1 - last) * _START, _START),
        )
        for first, last in _SPLITS
    ]
    return np.stack([_inner(np.asarray(one).T) for one in rows])


_FILTERS = _start_filters()


def _starts(image: Image.Image) -> Cells:
    """[splits of the height, splits of the width, cells, cells, 3]"""
    pixels = np.asarray(image.reduce(_SMALL // _START), np.float32)
    across = np.einsum("xcw,hwk->hxck", _FILTERS, pixels, optimize=True)
    starts: Cells = np.einsum("yrh,hxck->yxrck", _FILTERS, across, optimize=True)
    return starts
