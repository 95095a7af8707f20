"""Read a file's header: format, size and samples, or the reason why it can't be read."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyvips

from commoncanvas.core.errors import ImageError
from commoncanvas.core.text import one_line
from commoncanvas.images import exif
from commoncanvas.images.kinds import kind_of

WEB_FORMATS = ("jpeg", "png", "webp", "gif", "tiff", "heif")
"""Formats allowed for untrusted files: their readers are fuzzed. The SVG reader is not, and SVGs contain commands."""
READS = (*WEB_FORMATS, "svg")
SWAPS_SIDES = (5, 6, 7, 8)
"""EXIF orientations that rotate an image by 90 degrees."""
MAX_BANDS = 4
"""Three colours and alpha. CMYK may have one more."""

_LOADERS = {f"VipsForeignLoad{'Nsgif' if name == 'gif' else name.capitalize()}Buffer": name for name in READS}
_SAMPLE_BYTES = {"uchar": 1, "char": 1, "ushort": 2, "short": 2, "uint": 4, "int": 4, "float": 4, "double": 8}
_COEFFICIENT_BYTES = 2
_PHOTOMETRIC, _COMPRESSION, _YCBCR, _JPEGS = 262, 259, 6, (6, 7)
# Messages of the readers about intact files of a kind that they can't read.
_UNSUPPORTED = re.compile(
    r"not been built in|not (implemented|supported|configured)|unsupported(?! marker)|out of range$|bad labq format",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Header:
    """What is known of a file before decoding. Width and height are those of the upright image."""

    format: str
    width: int
    height: int
    profiled: bool
    """Whether a colour profile is needed to convert to sRGB."""
    bands: int = 3
    """Number of colours, plus one for alpha."""
    sample: str = "uchar"
    """Type of a sample, as libvips names it."""
    interpretation: str = "srgb"
    """Colour space, as libvips names it."""
    orientation: int = 1
    """EXIF orientation, 1 to 8; 1 is upright."""
    animated: bool = False
    many_scans: bool = False
    """A JPEG with several passes over its pixels, such as a progressive one."""
    strict: bool = False
    """A JPEG without any libjpeg warning to its last byte. Known only after decoding."""
    camera: str | None = None
    """Maker and model from EXIF."""
    taken_at: str | None = None
    """Date and time from EXIF, in ISO 8601; in the camera's local time if no zone is given."""

    @property
    def scalable(self) -> bool:
        return self.format == "svg"

    @property
    def pixel_bytes(self) -> int:
        """Bytes per decoded pixel. With several passes, the coefficients are in memory, which may need more."""
        return self.bands * max(_SAMPLE_BYTES[self.sample], _COEFFICIENT_BYTES if self.many_scans else 1)


def read_header(data: bytes, formats: Sequence[str] = READS) -> Header:
    """Read the header of a file in one of `formats`; its name does not matter. Raises ImageError: not_an_image,
    unsupported_format, or truncated if it is damaged.
    """
    pyvips.vips_lib.vips_error_clear()  # this buffer may hold warnings about earlier images
    # Check the format before anything is opened: some readers of libvips are not safe for untrusted files.
    loader = pyvips.vips_lib.vips_foreign_find_load_buffer(data, len(data))
    format = _LOADERS.get(pyvips.ffi.string(loader).decode()) if loader != pyvips.ffi.NULL else None
    if format is None or format not in formats:
        raise _unreadable(format or kind_of(data), formats)
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
    except pyvips.Error as error:
        raise broken(error) from error
    if format == "tiff" and _is_plain_ycbcr(data):
        raise ImageError("unsupported_format", "tiff in YCbCr can't be converted; save it with RGB samples")
    fields = set(image.get_fields())
    width, height = image.width, image.height
    orientation = image.get("orientation") if "orientation" in fields else 1
    if orientation in SWAPS_SIDES:
        width, height = height, width
    most = MAX_BANDS + (image.interpretation == "cmyk")
    if image.bands > most or image.format not in _SAMPLE_BYTES:
        raise ImageError(
            "unsupported_format",
            f"{format} with {image.bands} bands of {image.format} samples; "
            f"save it with at most {most} bands (colours and alpha) of 8 or 16 bits",
        )
    return Header(
        format,
        width,
        height,
        profiled="icc-profile-data" in fields or image.interpretation == "cmyk",
        bands=image.bands,
        sample=image.format,
        interpretation=image.interpretation,
        orientation=orientation,
        animated=_animated(format, image, fields, data),
        many_scans="jpeg-multiscan" in fields and bool(image.get("jpeg-multiscan")),
        camera=exif.camera(image, fields),
        taken_at=exif.taken_at(image, fields),
    )


def broken(error: pyvips.Error) -> ImageError:
    """The ImageError for a file that libvips opened but can't read."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines()]
    # libheif tries to read after the end of a file, and reports each try.
    reason = one_line("; ".join(dict.fromkeys(line for line in lines if line and "bad seek" not in line)))
    if "out of memory" in reason:
        return out_of_memory()
    if _UNSUPPORTED.search(reason):
        return ImageError("unsupported_format", f"{reason}; convert it to JPEG, PNG or TIFF of 8 or 16 bits")
    return ImageError("truncated", f"damaged or cut short: {reason}")


def out_of_memory() -> ImageError:
    return ImageError("too_many_pixels", "decoding it takes more memory than an image may use")


def _unreadable(kind: str | None, formats: Sequence[str]) -> ImageError:
    listed = ", ".join(formats)
    if kind is None:
        return ImageError("not_an_image", f"not an image in a supported format ({listed})")
    if kind in formats:
        return ImageError("truncated", f"damaged or cut short: it begins as {kind}, but can't be opened")
    return ImageError(
        "unsupported_format", f"{kind} is not a supported format ({listed}); convert it to one of them"
    )


def _is_plain_ycbcr(data: bytes) -> bool:
    """Whether a TIFF has YCbCr samples without JPEG (TIFF 6.0, sections 2 and 21). libvips reads them as RGB."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    match number(2, 2):
        case 42:
            first = number(4, 4)
            begin, length, value, count = first + 2, 12, 8, number(first, 2)
        case 43:  # BigTIFF: all offsets and counts have eight bytes
            first = number(8, 8)
            begin, length, value, count = first + 8, 20, 12, number(first, 8)
        case _:
            return False
    entries = range(begin, min(begin + length * count, len(data)), length)
    tags = {number(entry, 2): number(entry + value, 2) for entry in entries}
    return tags.get(_PHOTOMETRIC) == _YCBCR and tags.get(_COMPRESSION) not in _JPEGS


def _animated(format: str, image: Any, fields: Container[str], data: bytes) -> bool:
    if format == "png":
        # libvips reads only the first frame of an animated PNG.
        return b"acTL" in data[: data.find(b"IDAT")]
    return format in ("gif", "webp") and "n-pages" in fields and image.get("n-pages") > 1
