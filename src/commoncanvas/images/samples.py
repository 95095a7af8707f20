"""Convert samples that are not unsigned 8 or 16 bits. Such a file doesn't say which value is white: its values must."""

from __future__ import annotations

import math
from typing import Any

from commoncanvas.core.errors import ImageError
from commoncanvas.images.header import Header

_PLAIN = ("uchar", "ushort")
_OF_ANY_RANGE = ("b-w", "grey16", "srgb", "rgb16", "scrgb", "multiband", "histogram")


def is_odd(header: Header) -> bool:
    """Whether the samples may have any range. Lab, XYZ and CMYK samples have a known range."""
    return header.sample not in _PLAIN and header.interpretation in _OF_ANY_RANGE


def in_levels(image: Any) -> Any:
    """Convert such a libvips image so that white is known: linear light from 0 to 1, or levels up to 255 or 65,535, the
    smallest that fits. Raises ImageError (unsupported_format) for values that can't be colours.

    Floats with a mean of at most 1 are linear light; a few of them may be brighter than white.
    """
    alpha = image.bands in (2, 4)
    colours = image[: image.bands - 1] if alpha else image
    low, high, _, _, mean = (colours.stats()(column, 0)[0] for column in range(5))
    if math.isfinite(mean) and -low <= high:
        if image.format == "float" and mean <= 1:
            light = colours if colours.bands == 3 else colours.bandjoin([colours, colours])
            return (light.bandjoin(image[image.bands - 1]) if alpha else light).copy(interpretation="scrgb")
        grey = image.bands < 3
        if high <= 255:
            return image.cast("uchar").copy(interpretation="b-w" if grey else "srgb")
        if high <= 65535:
            return image.cast("ushort").copy(interpretation="grey16" if grey else "rgb16")
    raise ImageError(
        "unsupported_format",
        f"values from {low:g} to {high:g} are not colours; save it with 8 or 16 bits per sample",
    )
