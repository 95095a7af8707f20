"""Resize images exactly as other tools do: the pixels of an axis are a sparse matrix times the image's pixels.

- `pillow`: Pillow's antialiased bicubic filter on floats, as in clean-fid (Parmar et al., arXiv 2104.11222).
- `tensorflow`: TensorFlow 1's bilinear filter without antialiasing, which the first FID used and torch-fidelity has.

Shapes: H and W pixels, S the new size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

BICUBIC_A = -0.5
BICUBIC_SUPPORT = 2.0
KEPT = 256
"""Matrices in memory: two for each size of image."""


def pillow(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """[H, W, 3] -> [S, S, 3] in 0..255, not rounded."""
    height, width = image.shape[:2]
    return _apply(image, _bicubic(height, size), _bicubic(width, size)).clip(0, 255)


def tensorflow(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """[H, W, 3] -> [S, S, 3] in 0..255, not rounded."""
    height, width = image.shape[:2]
    return _apply(image, _bilinear(height, size), _bilinear(width, size))


def _apply(image: NDArray[np.uint8], down: csr_array, across: csr_array) -> NDArray[np.float32]:
    """The axis that makes the image smaller comes first; the order changes no value."""
    height, width, colours = image.shape
    rows = (down @ image.reshape(height, -1).astype(np.float32)).reshape(-1, width, colours)
    columns = across @ np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(width, -1)
    resized: NDArray[np.float32] = columns.reshape(across.shape[0], down.shape[0], colours).swapaxes(0, 1)
    return resized


@lru_cache(maxsize=KEPT)
def _bicubic(count: int, size: int) -> csr_array:
    """Pillow's weights [S, count]: the filter is as wide as the shrink, and cut at the border."""
    scale = count / size
    wide = max(scale, 1.0)
    rows, columns, weights = [], [], []
    for row in range(size):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - BICUBIC_SUPPORT * wide + 0.5))
        last = min(count, int(centre + BICUBIC_SUPPORT * wide + 0.5))
        places = np.arange(first, last)
        values = _cubic(np.abs(places + 0.5 - centre) / wide)
        rows.append(np.full(len(places), row))
        columns.append(places)
        weights.append(values / values.sum())
    return _matrix(rows, columns, weights, (size, count))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel (IEEE TASSP 29, 1981, eq. 15) with a = -0.5."""
    near = ((BICUBIC_A + 2) * x - (BICUBIC_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * BICUBIC_A
    return np.where(x < 1, near, np.where(x < BICUBIC_SUPPORT, far, 0.0))


@lru_cache(maxsize=KEPT)
def _bilinear(count: int, size: int) -> csr_array:
    """TensorFlow 1's weights [S, count]: corners aligned at the first pixel only (`align_corners=False`)."""
    places = np.arange(size, dtype=np.float32) * np.float32(count / size)
    low = places.astype(np.int64)
    high = np.minimum(low + 1, count - 1)
    share = places - low
    rows = np.arange(size)
    return _matrix([rows, rows], [low, high], [1 - share, share], (size, count))


def _matrix(rows: list, columns: list, weights: list, shape: tuple[int, int]) -> csr_array:  # type: ignore[type-arg]
    places = (np.concatenate(rows), np.concatenate(columns))
    return csr_array((np.concatenate(weights).astype(np.float32), places), shape=shape)


def shortest(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """[H, W, 3] -> [S, S, 3]: the shortest side becomes S (Pillow's bicubic filter, rounded), then the centre is cut
    out, as in OpenAI's CLIP.
    """
    height, width = image.shape[:2]
    # As torchvision rounds: the longer side down, the corner to the nearest even number.
    sides = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    resized = Image.fromarray(image).resize(sides, Image.Resampling.BICUBIC)
    left, top = round((sides[0] - size) / 2), round((sides[1] - size) / 2)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def stretched(image: NDArray[np.uint8], size: int, filter: Image.Resampling) -> NDArray[np.uint8]:
    """[H, W, 3] -> [S, S, 3], by Pillow's `filter`, rounded."""
    return np.asarray(Image.fromarray(image).resize((size, size), filter))
