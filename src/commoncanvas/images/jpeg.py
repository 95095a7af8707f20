"""Decode JPEGs with libjpeg-turbo at the needed scale, and use libjpeg's warnings to find damage."""

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
"""Each scan is a pass over the whole image. A JPEG with more goes to libvips, which refuses it."""
SCALED_SIDE = 320
"""JPEGs whose shorter side is smaller are decoded whole: little time is saved, and each lost pixel matters more."""
MISPLACED = 0.05
"""Most pixels by which libvips' result may be too long, half at each end. Else Pillow resizes, in twice the time."""

HARMLESS = (
    r"Corrupt JPEG data: \d+ extraneous bytes before marker 0x[0-9a-f]{2}",
    "Invalid SOS parameters for sequential JPEG",
    r"Unknown Adobe color transform code \d+",
    r"Warning: unknown JFIF revision number \d+\.\d+",
)
"""Warnings of libjpeg (regular expressions) that don't affect pixels. After any other, such as "premature end of data
segment", pixels are grey or shifted."""

_harmless = re.compile("|".join(HARMLESS))
_EVEN_CHROMA = ("444", "420", "Gray")
"""Subsamplings for which libjpeg scales colours and brightness equally. In others, colours get half the resolution."""
# EXIF orientation -> steps down and to the right that make the image upright, after a swap of sides if it is turned.
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}


class _Counts(logging.Handler):
    """Reads the number of warnings from libvips' log. libjpeg reports only the first warning of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def emit(self, record: logging.LogRecord) -> None:
        if counted := re.search(r"read gave (\d+) warnings", record.getMessage()):
            self.most = max(self.most, int(counted[1]))


_counts = _Counts()
logging.getLogger("pyvips").addHandler(_counts)


def forget_warnings() -> None:
    """Forget the warnings of earlier files."""
    pyvips.vips_lib.vips_error_clear()  # this buffer also holds warnings
    _counts.most = 0


def damage() -> str | None:
    """libjpeg's warning since `forget_warnings` that means missing or wrong pixels; None if there is none."""
    log: str = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode(errors="replace")
    warnings = [line.removeprefix("VipsJpeg: ") for line in log.splitlines() if line.startswith("VipsJpeg: ")]
    for warning in warnings:
        if not _harmless.fullmatch(warning):
            return warning
    # A harmless warning hides the warnings after it.
    return f"{_counts.most} warnings, the first: {warnings[0]}" if warnings and _counts.most > 1 else None


def is_strict(data: bytes) -> bool:
    """Whether libjpeg gives no warning, not even about bytes after the last pixel. Decodes at the fastest scale."""
    try:
        simplejpeg.decode_jpeg(data, "RGB", min_factor=8)
    except ValueError:
        return False
    return True


def load_jpeg(data: bytes, width: int, height: int, header: Header) -> NDArray[np.uint8] | None:
    """A JPEG without a profile, upright at (width, height); None if libvips must decode it.

    Decodes at libjpeg's smallest scale that is not below the target, and small images whole. libvips decodes at twice
    the size and takes 1.5 times as long; it also stretches a scaled image's last, partly filled pixels to the edge.
    """
    if header.many_scans and data.count(b"\xff\xda") > MAX_SCANS:
        return None
    columns, rows = header.width, header.height
    turned = header.orientation in SWAPS_SIDES
    if turned:
        columns, rows, width, height = rows, columns, height, width
    # libjpeg rounds sides up, so a scaled side may be a pixel longer than its content. The content must not be smaller.
    eighths = 8 if min(columns, rows) < SCALED_SIDE else max(-(-8 * width // columns), -(-8 * height // rows))
    try:
        if simplejpeg.decode_jpeg_header(data)[3] not in _EVEN_CHROMA:
            eighths = min(8, 2 * eighths)
        least = {"min_width": -(-columns * eighths // 8), "min_height": -(-rows * eighths // 8)}
        array = simplejpeg.decode_jpeg(data, "RGB", **least)
    except (ValueError, MemoryError):
        return None  # damaged, or only not strictly valid
    array = _resize_scaled(array, columns * eighths / 8, rows * eighths / 8, width, height)
    if turned:
        array = array.swapaxes(0, 1)
    down, right = _FLIPS.get(header.orientation, (1, 1))
    return np.ascontiguousarray(array[::down, ::right])


def _resize_scaled(
    array: NDArray[np.uint8], shown_width: float, shown_height: float, width: int, height: int
) -> NDArray[np.uint8]:
    """libjpeg's scaled pixels -> (width, height). The last column and row may be only partly filled: if they were
    stretched to the edge, all pixels would shift, which costs 10 dB and more.
    """
    across, down = shown_width / width, shown_height / height
    if across == down == 1:
        return array
    columns, rows = _padded(array.shape[1], across), _padded(array.shape[0], down)
    if not columns or not rows:
        box = (0, 0, shown_width, shown_height)
        return np.array(Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS, box=box))
    array = _extended(array, rows, columns)
    image = pyvips.Image.new_from_memory(array.data, columns, rows, 3, "uchar")
    image = image.resize(1 / across, vscale=1 / down)
    resized: NDArray[np.uint8] = image.crop(0, 0, width, height).numpy()
    return resized


def _extended(array: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Repeat the last row and column, to [rows, columns, 3]. Takes a third of the time of libvips' `embed`."""
    height, width = array.shape[:2]
    if (height, width) == (rows, columns):
        return array
    extended = np.empty((rows, columns, 3), np.uint8)
    extended[:height, :width] = array
    extended[:height, width:] = array[:, -1:]
    extended[height:] = extended[height - 1]
    return extended


def _padded(count: int, shrink: float) -> int | None:
    """`count` plus a few pixels, so that shrinking gives a whole number: libvips puts half of a remainder at each end.
    None if a few pixels are not enough, as with a shrink of 1.005.
    """
    over = [abs(made - round(made)) for made in ((count + more) / shrink for more in range(12))]
    if min(over) > MISPLACED:
        return None
    return count + next(more for more in range(12) if over[more] <= min(over) + 1e-3)
