"""Small pictures of stored images, for pages and notebooks."""

from __future__ import annotations

from commoncanvas.core.errors import ImageError
from commoncanvas.images.header import WEB_FORMATS
from commoncanvas.images.image import encode_image, load

SIDE = 240
"""Pixels of the longer side: a file has about 6 KB."""


def thumbnail(image: bytes | None) -> bytes | None:
    """A small WebP file of a stored image; None if it can't be read."""
    try:
        array, _ = load(image or b"", SIDE, formats=WEB_FORMATS)
    except ImageError:
        return None
    return encode_image(array, "webp", 80)
