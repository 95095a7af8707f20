"""Whether two pictures are one: laid over each other as well as a crop allows, and compared place by place. Pure.

What recompression and resizing change is spread over a picture, and so is what is left of a crop. What tells a drawing
from its sister, another skin tone or a hat, is in one place, and may be little on average over all of the picture. So
both are looked at: the mean difference, and the worst of any small square.
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
"""Root mean square, in levels of 255, up to which two aligned pictures are the same."""
MAX_LOCAL_DIFFERENCE = 12.0
"""The same in any square of 3 x 3 of the 32 x 32 cells, in any colour, for a picture of FINE pixels a side. Copies of
drawings: 11 or less, but for one of 1,000; of photos of 300 pixels, 9 or less. Skin tones are 25 and more apart."""
FINE = 256
"""A smaller picture may differ more, up to twice as much: its cells are made of few pixels, and of their noise."""

_SMALL = 128  # pixels of a side that cells are made from
_SIDES = (16, 32)  # cells of a side, from coarse to fine
_STEPS = 3
_HOPELESS = 40.0
_MOST = 0.055  # a crop of 5 % in whole pixels may be a little more
_DAMPING = 1e-3

Cells = NDArray[np.float32]
Crop = NDArray[np.float64]
"""[4]: left, top, right and bottom shares of the original that are missing."""


@dataclass(frozen=True)
class Difference:
    """Root mean squares between two aligned pictures, levels of 255."""

    mean: float
    """Of the whole picture."""
    local: float
    """Of the square of 3 x 3 cells and the colour where it is largest."""
    allowed: float = MAX_LOCAL_DIFFERENCE
    """What `local` may be."""

    @property
    def same(self) -> bool:
        return self.mean <= MAX_DIFFERENCE and self.local <= self.allowed


UNLIKE = Difference(float("inf"), float("inf"))


class Target:
    """A picture that others are aligned with; what an alignment needs of it is worked out once."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """From uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        self._image = _reduced(Image.fromarray(image), width, height)
        self._limit = MAX_LOCAL_DIFFERENCE * min(2.0, max(1.0, FINE / min(width, height)))

    @cached_property
    def _levels(self) -> list[tuple[Cells, NDArray[np.float32]]]:
        """Of each size the cells, and the [4, cells] change of a crop that a change of them asks for."""
        levels = []
        for side in _SIDES:
            cells = _cells(self._image, np.zeros(4), side)
            down, across = np.gradient(cells, axis=(0, 1))
            at = _inner((np.arange(side) + 0.5) / side)
            x, y = at[None, :, None], at[:, None, None]
            # How the cells change as one side of the crop moves: it moves its own edge most, the other one's not.
            moves = np.stack([across * (1 - x), down * (1 - y), -across * x, -down * y], axis=-1) * side
            moves = moves.reshape(-1, 4)
            square = moves.T @ moves
            square += (_DAMPING * np.trace(square) / 4 + 1) * np.eye(4)
            levels.append((cells, np.linalg.solve(square, moves.T).astype(np.float32)))
        return levels

    def difference(self, data: bytes) -> Difference:
        """From the stored image `data`, cropped so that it fits best, by up to 5 % of its width and of its height.

        The best of a few crops is improved by Gauss-Newton steps, from coarse to fine (Lucas, Kanade, "An iterative
        image registration technique", IJCAI 1981), with the target's gradients, which a match has too. UNLIKE for
        an image that can't be decoded.
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
                apart = _cells(image, tried, side) - cells
                mean = float(np.square(apart).mean())
                if mean < least:
                    best, least, crop = apart, mean, tried
                if step < _STEPS:
                    tried = _allowed(tried - solve @ apart.reshape(-1))
        return Difference(math.sqrt(least), _local(best), self._limit)


def _allowed(crop: Crop) -> Crop:
    """Nothing outside the picture, and no more of it missing than may be."""
    crop = crop.clip(0, _MOST)
    over = (crop[:2] + crop[2:] - _MOST).clip(0)
    return (crop - np.tile(over, 2) / 2).clip(0)


def _local(apart: Cells) -> float:
    squares = np.square(apart)
    for axis in (0, 1):
        squares = np.lib.stride_tricks.sliding_window_view(squares, 3, axis).mean(-1)
    return math.sqrt(squares.max())


def _small(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if image.format == "JPEG":
                image.draft("RGB", (_SMALL, _SMALL))  # decodes a sixteenth of the pixels of 512
            # Of a last column or row that stands for less than the others, no more than that.
            factor = round(width / image.width)
            return _reduced(image.convert("RGB"), width / factor, height / factor)
    except OSError:
        pixels = decode(data)  # says what is wrong
        return _reduced(Image.fromarray(pixels), pixels.shape[1], pixels.shape[0])


def _reduced(image: Image.Image, width: float, height: float) -> Image.Image:
    box = (0, 0, width, height)
    return image.resize((_SMALL, _SMALL), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


def _cells(image: Image.Image, crop: Crop, side: int) -> Cells:
    """[side - 2, side - 2, 3]: not the outermost, where a filter reaches beyond a crop, but not beyond a picture."""
    left, top, right, bottom = crop
    box = (left * _SMALL, top * _SMALL, (1 - right) * _SMALL, (1 - bottom) * _SMALL)
    # Not BOX: Pillow's takes whole pixels in or out, so that crops of less than one are not told apart.
    cells = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box), np.float32)
    return _inner(_inner(cells).swapaxes(0, 1)).swapaxes(0, 1)


def _inner(array: NDArray[Any]) -> NDArray[Any]:
    return array[1:-1]


# Shares that are missing at the two ends of a side.
_SPLITS = tuple((first / 40, last / 40) for first in range(3) for last in range(3 - first))
_START = 64


def _start_filters() -> NDArray[np.float32]:
    """[splits, cells, 64] what `_cells` does along one side, as matrices: two products make all pairs of splits."""
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
