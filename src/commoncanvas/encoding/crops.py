"""What part of an image becomes a sample, at which size: a middle square, or the nearest of a set of aspect ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.images.image import square

MOST_ASPECT = 4.0
"""Of a bucket's longer side to its shorter one, as SDXL has them (arXiv 2307.01952, appendix I)."""


class Size(NamedTuple):
    """Sides in pixels."""

    height: int
    width: int


class Crop(NamedTuple):
    """What SDXL is told of a sample (arXiv 2307.01952, section 2.2), in its order: pixels of the image before it was
    resized, where the crop begins in the resized one, and what was left.
    """

    original_height: int
    original_width: int
    top: int
    left: int
    height: int
    width: int


@lru_cache(maxsize=8)
def buckets(size: int, step: int) -> tuple[Size, ...]:
    """The sizes of at most `size` x `size` pixels in all whose sides are multiples of `step`: for each width the
    greatest height, portrait to landscape.
    """
    sizes = []
    for width in range(step, size * size // step + 1, step):
        height = size * size // width // step * step
        if height and max(width, height) <= MOST_ASPECT * min(width, height):
            sizes.append(Size(height, width))
    return tuple(sizes)


def nearest(height: int, width: int, sizes: Sequence[Size]) -> Size:
    """The bucket whose aspect ratio is nearest, by its logarithm; of two as near the larger."""
    aspect = math.log(width / height)
    return min(
        sizes, key=lambda one: (abs(math.log(one.width / one.height) - aspect), -one.width * one.height)
    )


def crop(array: NDArray[np.uint8], size: Size) -> tuple[NDArray[np.uint8], Crop]:
    """[H, W, 3] -> its middle, resized (antialiased Lanczos) to cover `size`, and what was done to it."""
    height, width = array.shape[:2]
    ratio = max(size.height / height, size.width / width)
    top, left = (round((side * ratio - kept) / 2) for side, kept in zip((height, width), size, strict=True))
    done = Crop(height, width, top, left, *size)
    if size.height == size.width:
        return square(array, size.height), done
    across, down = size.width / ratio, size.height / ratio
    x, y = (width - across) / 2, (height - down) / 2
    resized = Image.fromarray(array).resize(
        (size.width, size.height), Image.Resampling.LANCZOS, box=(x, y, x + across, y + down)
    )
    return np.array(resized), done
