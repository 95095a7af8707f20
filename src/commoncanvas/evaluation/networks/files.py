"""Files of a feature network: the images that it reads, and its weights with their digest."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from commoncanvas.core.errors import ImageError, ModelError
from commoncanvas.core.text import one_line
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
    """An image file -> uint8 RGB [H, W, 3]: the pixels of the file, as clean-fid and torch-fidelity read them.

    They don't apply EXIF orientation and colour profiles, so this doesn't either. Raises ImageError.
    """
    data = path.read_bytes()
    try:
        return _jpeg(data) if data.startswith(b"\xff\xd8\xff") else decode(data)
    except ImageError as error:
        raise ImageError(error.status, f"{path}: {error}") from error


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


def read_weights(path: Path, what: str) -> tuple[dict[str, Any], str]:
    """The state dict in a .pth file, and the file's sha256. No code in the file runs. Raises ModelError."""
    try:
        data = path.read_bytes()
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for broken files
        raise ModelError(
            f"weights of {what}: {path} can't be read as a file of weights only: "
            f"{one_line(error) or type(error).__name__}"
        ) from error
    if not isinstance(state, dict):
        raise ModelError(f"weights of {what}: {path} has a {type(state).__name__}, not a state dict")
    return state, hashlib.sha256(data).hexdigest()
