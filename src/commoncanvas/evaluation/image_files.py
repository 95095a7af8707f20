"""Image files that are measured: those in a folder, and their pixels as clean-fid and torch-fidelity read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from commoncanvas.core.errors import ImageError
from commoncanvas.images.image import MAX_PIXELS, decode

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""As in clean-fid."""


def images_in(folder: Path) -> list[Path]:
    """The image files in a folder and the folders in it, by path. Raises ImageError if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise ImageError("not_an_image", f"{folder} has no image files ({', '.join(sorted(EXTENSIONS))})")
    return found


def read_image(path: Path) -> NDArray[np.uint8]:
    """The pixels of an image file, uint8 RGB [H, W, 3]. Raises ImageError with the file's name."""
    try:
        return pixels_of(path.read_bytes())
    except ImageError as error:
        raise ImageError(error.status, f"{path}: {error}") from error


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    """The pixels of an image file's bytes, uint8 RGB [H, W, 3]. Raises ImageError.

    clean-fid and torch-fidelity don't apply EXIF orientation and colour profiles, so this doesn't either.
    """
    return _jpeg(data) if data.startswith(b"\xff\xd8\xff") else decode(data)


def _jpeg(data: bytes) -> NDArray[np.uint8]:
    """libjpeg-turbo's exact decoder: Pillow's pixels in half its time."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in ("YCbCr", "Gray") and height * width <= MAX_PIXELS:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
            return pixels
    except ValueError:
        pass  # damaged, or only not strictly valid
    return decode(data)
