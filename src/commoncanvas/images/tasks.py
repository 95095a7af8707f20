"""The tasks of decoders: turn a file into a catalog row, or only into pixels."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import ImageError
from commoncanvas.images.decoders import Decoders
from commoncanvas.images.header import READS, WEB_FORMATS, Header
from commoncanvas.images.image import (
    FORMATS,
    MAX_PIXELS,
    encode_image,
    image_columns,
    load,
    turned,
)
from commoncanvas.images.jpeg import is_strict
from commoncanvas.images.segments import is_plain
from commoncanvas.options.fetch import Animated, Format, Side

Row = dict[str, Any]

MAX_BYTES = 100_000_000
"""Larger files are refused."""
LOOK_PIXELS = 512
"""Longest side of an image that `look` returns."""
SHRINKERS = 2
"""Processes of `shrunk`."""
SHRUNK_QUALITY = 82


@dataclass(frozen=True)
class Decode:
    """A file and its allowed formats -> the image columns of its row, with camera and date."""

    size: int = 512
    side: Side = "longest"
    format: Format = "jpeg"
    quality: int = 95
    max_pixels: int = MAX_PIXELS
    animated: Animated = "first"

    def __call__(
        self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any], rotation: int = 0
    ) -> Row:
        """`rotation`: see `turned`."""
        array, header = self._load(data, formats, large, rotation)
        return {
            **image_columns(data, header, array, encode_image(array, self.format, self.quality)),
            "exif_camera": header.camera,
            "exif_taken_at": header.taken_at,
        }

    def _load(
        self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any], rotation: int
    ) -> tuple[NDArray[np.uint8], Header]:
        array, header = load(data, self.size, self.side, self.max_pixels, formats, self.animated, large)
        return turned(array, header, rotation)


@dataclass(frozen=True)
class Store(Decode):
    """Like `Decode`, without camera and date, for image files in a source. A file stays unchanged if the catalog could
    store it as it is: small enough, sRGB, only pixels in it.

    Any other file is encoded again, so that no EXIF data, such as a place, is stored.
    """

    def __call__(
        self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any], rotation: int = 0
    ) -> Row:
        if len(data) > MAX_BYTES:
            raise ImageError("too_large", f"{len(data):,} bytes, more than {MAX_BYTES:,}")
        array, header = self._load(data, formats, large, rotation)
        stored = (
            data
            if not rotation and self._fits(data, header)
            else encode_image(array, self.format, self.quality)
        )
        return image_columns(data, header, array, stored)

    def _fits(self, data: bytes, header: Header) -> bool:
        bound = (max if self.side == "longest" else min)(header.width, header.height)
        return (
            header.format in FORMATS
            and bound <= self.size
            and not header.profiled
            and (header.interpretation, header.sample, header.bands) == ("srgb", "uchar", 3)
            and is_plain(data, header.format)
            and (header.format != "jpeg" or header.strict or is_strict(data))
        )


@dataclass(frozen=True)
class Look:
    """A file -> uint8 [H, W, 3] with its longest side at `size` (see `load`)."""

    size: int = LOOK_PIXELS
    max_pixels: int = MAX_PIXELS

    def __call__(
        self, data: bytes, formats: Sequence[str], large: AbstractContextManager[Any]
    ) -> NDArray[np.uint8]:
        return load(data, self.size, "longest", self.max_pixels, formats, large=large)[0]


@lru_cache(maxsize=1)
def lookers() -> Decoders[NDArray[np.uint8]]:
    """The decoders of `look`. Raises PlatformError."""
    made = Decoders(Look(), 1)
    atexit.register(made.close)
    return made


def look(data: bytes) -> NDArray[np.uint8]:
    """An untrusted file -> uint8 [H, W, 3] in sRGB, at most 512 pixels per side. Another process decodes it, and stays
    for the next file. Raises ImageError, DecoderError, PlatformError.
    """
    if len(data) > MAX_BYTES:
        raise ImageError("too_large", f"{len(data):,} bytes, more than {MAX_BYTES:,}")
    return lookers()(data, READS)


@dataclass(frozen=True)
class Shrink:
    """A file -> a WebP file with its longest side at `size` (see `load`)."""

    max_pixels: int = MAX_PIXELS

    def __call__(
        self,
        data: bytes,
        formats: Sequence[str],
        large: AbstractContextManager[Any],
        size: int = LOOK_PIXELS,
    ) -> bytes:
        array, _ = load(data, size, "longest", self.max_pixels, formats, large=large)
        return encode_image(array, "webp", SHRUNK_QUALITY)


@lru_cache(maxsize=1)
def _shrinkers() -> Decoders[bytes]:
    made = Decoders(Shrink(), SHRINKERS)
    atexit.register(made.close)
    return made


def shrunk(data: bytes, size: int) -> bytes:
    """An untrusted raster file -> a WebP file of at most `size` pixels per side. Other processes decode, and stay for
    the next file. Raises ImageError, DecoderError, PlatformError.
    """
    if len(data) > MAX_BYTES:
        raise ImageError("too_large", f"{len(data):,} bytes, more than {MAX_BYTES:,}")
    return _shrinkers()(data, WEB_FORMATS, size=size)
