"""Which part of an image becomes a sample: the middle square, or the middle in the nearest of several aspect ratios."""

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
"""Largest ratio of a bucket's longer side to its shorter one, as in SDXL (arXiv 2307.01952, appendix I)."""


class Size(NamedTuple):
    """Sides in pixels."""

    height: int
    width: int


class Crop(NamedTuple):
    """SDXL's conditioning on sizes (arXiv 2307.01952, section 2.2), in SDXL's order, in pixels: size of the original
    image, where the crop begins in the resized image, and size of the crop.
    """

    original_height: int
    original_width: int
    top: int
    left: int
    height: int
    width: int


@lru_cache(maxsize=8)
def buckets(size: int, step: int) -> tuple[Size, ...]:
    """Sizes with at most `size` x `size` pixels and sides that are multiples of `step`: the greatest height for each
    width, from portrait to landscape.
    """
    sizes = []
    for width in range(step, size * size // step + 1, step):
        height = size * size // width // step * step
        if height and max(width, height) <= MOST_ASPECT * min(width, height):
            sizes.append(Size(height, width))
    return tuple(sizes)


def nearest(height: int, width: int, sizes: Sequence[Size]) -> Size:
    """The bucket whose aspect ratio is nearest, by its logarithm. If two are equally near: the larger one."""
    aspect = math.log(width / height)
    return min(
        sizes, key=lambda one: (abs(math.log(one.width / one.height) - aspect), -one.width * one.height)
    )


def crop(array: NDArray[np.uint8], size: Size) -> tuple[NDArray[np.uint8], Crop]:
    """[H, W, 3] -> its middle, resized (antialiased Lanczos) to cover `size`, and the crop's numbers."""
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
