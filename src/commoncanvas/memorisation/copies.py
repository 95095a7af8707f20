"""Known copies: an image as it comes back from crops, mirrors, other files and other colours. Pure.

Shapes: H and W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Pixels = NDArray[np.uint8]
"""[H, W, 3], sRGB."""

KEPT = 0.85
"""Share of each side that a crop keeps."""
QUALITY = 40
"""Of the JPEG files, from 1 to 95."""
SATURATION, BRIGHTNESS, CONTRAST = 0.6, 0.9, 1.2


def cropped(image: Pixels) -> Pixels:
    """The middle of the image."""
    height, width = image.shape[:2]
    top, left = round(height * (1 - KEPT) / 2), round(width * (1 - KEPT) / 2)
    return image[top : height - top, left : width - left]


def mirrored(image: Pixels) -> Pixels:
    return image[:, ::-1]


def recompressed(image: Pixels) -> Pixels:
    """Written as a JPEG file of low quality, and read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
    with Image.open(file) as read:
        return np.asarray(read.convert("RGB"))


def recoloured(image: Pixels) -> Pixels:
    """Paler, darker, and with more contrast."""
    changed = Image.fromarray(image)
    for enhance, factor in (
        (ImageEnhance.Color, SATURATION),
        (ImageEnhance.Brightness, BRIGHTNESS),
        (ImageEnhance.Contrast, CONTRAST),
    ):
        changed = enhance(changed).enhance(factor)
    return np.asarray(changed)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "cropped": cropped,
    "mirrored": mirrored,
    "recompressed": recompressed,
    "recoloured": recoloured,
}
