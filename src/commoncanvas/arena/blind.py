"""Images that don't say which model drew them: neither their names, nor their metadata, nor their times."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from commoncanvas.arena.chooser import seeded
from commoncanvas.core.errors import ArenaError, ImageError
from commoncanvas.core.files import replace_bytes
from commoncanvas.images.image import load
from commoncanvas.options.fetch import DEFAULTS as FETCH

FOLDER = "images"
NOISE_BLOCK = 4
"""Pixels of a side of noise's squares: noise of single pixels would make files of megabytes."""


def blind_id(secret: str, *parts: object) -> str:
    """32 hexadecimal digits that only `secret` connects with `parts`."""
    text = "\x1f".join(map(str, parts)).encode()
    return hmac.new(bytes.fromhex(secret), text, hashlib.sha256).hexdigest()[:32]


def image_path(folder: Path, image: str) -> Path:
    return folder / FOLDER / f"{image}.png"


def write_image(path: Path, image: Image.Image) -> None:
    """Write pixels alone, as a PNG file, whatever the file was that they come from."""
    plain = Image.fromarray(np.asarray(image.convert("RGB")))
    written = BytesIO()
    plain.save(written, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, written.getvalue())
    os.utime(path, (0, 0))


def read_image(path: Path) -> Image.Image:
    """An image file of anybody, upright and in sRGB. Raises ArenaError."""
    try:
        pixels, _ = load(path.read_bytes(), FETCH.max_pixels)
    except OSError as error:
        raise ArenaError(f"{path} can't be read: {error.strerror}") from error
    except ImageError as error:
        raise ArenaError(f"{path} can't be used as an image: {error}") from error
    return Image.fromarray(pixels)


def noise_like(path: Path, seed: object) -> Image.Image:
    """Coloured noise of the size of an image."""
    with Image.open(path) as image:
        width, height = image.size
    rows, columns = -(-height // NOISE_BLOCK), -(-width // NOISE_BLOCK)
    squares = seeded("noise", seed).integers(0, 256, (rows, columns, 3), np.uint8)
    whole = squares.repeat(NOISE_BLOCK, 0).repeat(NOISE_BLOCK, 1)[:height, :width]
    return Image.fromarray(np.ascontiguousarray(whole))


def sizes(folder: Path, images: Sequence[str]) -> set[tuple[int, int]]:
    """The different (width, height) of images."""
    found = set()
    for image in images:
        with Image.open(image_path(folder, image)) as opened:
            found.add(opened.size)
    return found
