"""JPEGs, nearly all of a photo catalog: decoded by libjpeg-turbo at the scale that is needed, and judged by libjpeg's
warnings.
"""

from __future__ import annotations

import logging
import re

import numpy as np
import pyvips
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.images.header import SWAPS_SIDES, Header

MAX_SCANS = 100
"""A JPEG with more, each of them a pass over the whole image, is left to libvips, which refuses it."""
SCALED_SIDE = 320
"""JPEGs with a shorter shorter side are left to libvips: little is gained there, and libjpeg's rounding weighs more."""
MISPLACED = 0.05
"""Pixels that libvips may have over, half of it to either side; else Pillow resizes, in twice the time."""

HARMLESS = (
    r"Corrupt JPEG data: \d+ extraneous bytes before marker 0x[0-9a-f]{2}",
    "Invalid SOS parameters for sequential JPEG",
    r"Unknown Adobe color transform code \d+",
    r"Warning: unknown JFIF revision number \d+\.\d+",
)
"""Warnings of libjpeg (regular expressions) after which every pixel is still what was encoded. After any other, such as
"premature end of data segment", what is missing is grey, or what follows is shifted."""

_harmless = re.compile("|".join(HARMLESS))
_EVEN_CHROMA = ("444", "420", "Gray")
"""Subsamplings of which libjpeg scales the colours no more than the brightness; of others it leaves half a side's."""
# Steps down and to the right that set the others, and the turned ones after their sides are swapped, upright.
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}


class _Counts(logging.Handler):
    """libjpeg tells the first warning of each pass over a file only; libvips logs how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def emit(self, record: logging.LogRecord) -> None:
        if counted := re.search(r"read gave (\d+) warnings", record.getMessage()):
            self.most = max(self.most, int(counted[1]))


_counts = _Counts()
logging.getLogger("pyvips").addHandler(_counts)


def forget_warnings() -> None:
    """Of files that were read before."""
    pyvips.vips_lib.vips_error_clear()  # where warnings wait too
    _counts.most = 0


def damage() -> str | None:
    """Of what libjpeg warned since `forget_warnings`, what means that pixels are missing or wrong."""
    said: str = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode(errors="replace")
    warnings = [
        line.removeprefix("VipsJpeg: ") for line in said.splitlines() if line.startswith("VipsJpeg: ")
    ]
    for warning in warnings:
        if not _harmless.fullmatch(warning):
            return warning
    # A harmless one hides what comes after it.
    return f"{_counts.most} warnings, the first: {warnings[0]}" if warnings and _counts.most > 1 else None


def is_strict(data: bytes) -> bool:
    """Whether libjpeg warns of nothing, not even of bytes behind the last pixel; at the quickest scale."""
    try:
        simplejpeg.decode_jpeg(data, "RGB", min_factor=8)
    except ValueError:
        return False
    return True


def load_jpeg(data: bytes, width: int, height: int, header: Header) -> NDArray[np.uint8] | None:
    """A JPEG without a profile, upright at (width, height); None for one that libvips must judge.

    Decoded at the smallest of libjpeg's scales that isn't below the target. libvips, which leaves itself a factor of
    two, takes half as long again.
    """
    if header.many_scans and data.count(b"\xff\xda") > MAX_SCANS:
        return None
    columns, rows = header.width, header.height
    turned = header.orientation in SWAPS_SIDES
    if turned:
        columns, rows, width, height = rows, columns, height, width
    # libjpeg rounds sides up, so a scaled side may be a pixel longer than what it shows; that must not be too small.
    eighths = max(-(-8 * width // columns), -(-8 * height // rows))
    try:
        if simplejpeg.decode_jpeg_header(data)[3] not in _EVEN_CHROMA:
            eighths = min(8, 2 * eighths)
        least = {"min_width": -(-columns * eighths // 8), "min_height": -(-rows * eighths // 8)}
        array = simplejpeg.decode_jpeg(data, "RGB", **least)
    except (ValueError, MemoryError):
        return None  # damaged, or worse only to a strict eye
    array = _resize_scaled(array, columns * eighths / 8, rows * eighths / 8, width, height)
    if turned:
        array = array.swapaxes(0, 1)
    down, right = _FLIPS.get(header.orientation, (1, 1))
    return np.ascontiguousarray(array[::down, ::right])


def _resize_scaled(
    array: NDArray[np.uint8], shown_width: float, shown_height: float, width: int, height: int
) -> NDArray[np.uint8]:
    """What libjpeg scaled -> (width, height). Of its last column and row only a part may be shown: to stretch them to
    the target's edges would shift all the others, which costs 10 dB and more.
    """
    across, down = shown_width / width, shown_height / height
    if across == down == 1:
        return array
    columns, rows = _padded(array.shape[1], across), _padded(array.shape[0], down)
    resized: NDArray[np.uint8]
    if not columns or not rows:
        box = (0, 0, shown_width, shown_height)
        resized = np.array(Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS, box=box))
        return resized
    array = _extended(array, rows, columns)
    image = pyvips.Image.new_from_memory(array.data, columns, rows, 3, "uchar")
    image = image.resize(1 / across, vscale=1 / down)
    resized = image.crop(0, 0, width, height).numpy()
    return resized


def _extended(array: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Its last row and column repeated, to [rows, columns, 3]; a third of what libvips' `embed` takes."""
    height, width = array.shape[:2]
    if (height, width) == (rows, columns):
        return array
    extended = np.empty((rows, columns, 3), np.uint8)
    extended[:height, :width] = array
    extended[:height, width:] = array[:, -1:]
    extended[height:] = extended[height - 1]
    return extended


def _padded(count: int, shrink: float) -> int | None:
    """`count` pixels and a few more, so that they make a whole number of shrunk ones: libvips shares out what is over
    to both ends. None where a few don't do it, as with a shrink of 1.005.
    """
    over = [abs(made - round(made)) for made in ((count + more) / shrink for more in range(12))]
    if min(over) > MISPLACED:
        return None
    return count + next(more for more in range(12) if over[more] <= min(over) + 1e-3)
