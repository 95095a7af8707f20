"""Images in and out of bytes: decode, resize, hash, encode. No files and no network here.

What comes from outside is read by libvips: many formats behind one reader, shrunk while it is decoded; most JPEGs by
`images.jpeg`. What the catalog stores is small; Pillow writes and reads it at a fifth of libvips' overhead an image.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal

import imagehash
import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from commoncanvas.core.errors import ImageError
from commoncanvas.images.header import READS, Header, broken, out_of_memory, read_header
from commoncanvas.images.jpeg import SCALED_SIDE, damage, forget_warnings, load_jpeg
from commoncanvas.images.samples import in_levels, is_odd

Side = Literal["longest", "shortest"]
Animated = Literal["first", "refuse"]
Format = Literal["jpeg", "png", "webp"]

SIDES = ("longest", "shortest")
FORMATS = ("jpeg", "png", "webp")
MAX_PIXELS = 200_000_000
ANIMATED = ("first", "refuse")

MAX_PIXEL_BYTES = 6
"""An image may take so many bytes when it is decoded for each of `max_pixels`: twice 8 bits of three colours."""
LARGE_BYTES = 150_000_000
"""Images that take more are decoded one at a time, by however many processes."""
LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383}
"""Pixels a side that a format can hold; PNG holds any."""
_TURNED = {1: 0, 3: 180, 6: 270, 8: 90}
"""EXIF's orientations that mirror nothing -> by how many degrees counterclockwise they turn."""

# No operation is repeated here, so libvips' cache of them would only hold memory; and images are worked on
# side by side, so threads within one would only get in each other's way.
pyvips.cache_set_max(0)
pyvips.vips_lib.vips_concurrency_set(1)


def target_size(width: int, height: int, size: int, side: Side, enlarge: bool = False) -> tuple[int, int]:
    """(width, height) with the longest or shortest side at `size`; never larger than it was, unless
    `enlarge`.
    """
    factor = size / (max if side == "longest" else min)(width, height)
    if factor >= 1 and not enlarge:
        return width, height
    return max(1, round(width * factor)), max(1, round(height * factor))


def load(
    data: bytes,
    size: int,
    side: Side = "longest",
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] = READS,
    animated: Animated = "first",
    large: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (it has no state)
) -> tuple[NDArray[np.uint8], Header]:
    """An image file -> uint8 [H, W, 3] in sRGB, upright, white where it was transparent, `side` at `size`.

    Drawings (SVG) are rendered at that size, pixels never enlarged; of an animation the first frame is taken, or it
    is refused. What takes more than LARGE_BYTES is decoded inside `large`. For one thread at a time.
    Raises ImageError: not_an_image, unsupported_format, truncated, refused, or too_many_pixels, which is seen before
    anything is decoded.
    """
    forget_warnings()
    header = read_header(data, formats)
    if header.animated and animated == "refuse":
        raise ImageError("refused", f"an animated {header.format}")
    width, height = target_size(header.width, header.height, size, side, enlarge=header.scalable)
    pixels = width * height if header.scalable else header.width * header.height
    if pixels > max_pixels:
        raise ImageError("too_many_pixels", f"{pixels:,} pixels, more than {max_pixels:,}")
    if pixels * header.pixel_bytes > max_pixels * MAX_PIXEL_BYTES:
        raise ImageError(
            "too_many_pixels",
            f"{pixels * header.pixel_bytes:,} bytes when decoded ({header.bands} bands of {header.sample}), "
            f"more than {max_pixels * MAX_PIXEL_BYTES:,}",
        )
    with large if pixels * header.pixel_bytes > LARGE_BYTES else nullcontext():
        try:
            return _decoded(data, width, height, header)
        except pyvips.Error as error:
            raise broken(error) from error
        except MemoryError as error:
            raise out_of_memory() from error


def _decoded(data: bytes, width: int, height: int, header: Header) -> tuple[NDArray[np.uint8], Header]:
    if header.format == "jpeg" and not header.profiled and min(header.width, header.height) >= SCALED_SIDE:
        scaled = load_jpeg(data, width, height, header)
        if scaled is not None:
            return scaled, replace(header, strict=True)
    array = _to_rgb(_thumbnail(data, width, height, header))
    if reason := damage():
        raise ImageError("truncated", f"damaged or cut short: {reason}")
    return array, header


def _thumbnail(data: bytes, width: int, height: int, header: Header) -> Any:
    if header.scalable:
        # Parsed once less than by `thumbnail_buffer`.
        image = pyvips.Image.svgload_buffer(data, scale=max(width / header.width, height / header.height))
        if (image.width, image.height) != (width, height):
            image = image.thumbnail_image(width, height=height, size="force")
        return image
    if is_odd(header):
        image = in_levels(pyvips.Image.new_from_buffer(data, "", fail_on="error"))
        return image.thumbnail_image(width, height=height, size="force")
    return pyvips.Image.thumbnail_buffer(
        data,
        width,
        height=height,
        size="force",
        # As a loader's option: libvips 8.18 doesn't hand on the `fail_on` of `thumbnail_buffer` itself.
        option_string="[fail_on=error]",
        # Only where needed: the transform costs more than all the rest of a small image.
        **({"output_profile": "srgb"} if header.profiled else {}),
    )


def turned(array: NDArray[np.uint8], header: Header, rotation: int) -> tuple[NDArray[np.uint8], Header]:
    """What `load` made of a file that `rotation` degrees (a multiple of 90) counterclockwise turn upright.

    They count from the pixels as the file has them, as Open Images' do, so what EXIF has turned is not turned twice. 0
    says nothing, and a mirrored file lies as EXIF says.
    """
    if not rotation or header.orientation not in _TURNED:
        return array, header
    quarters = (rotation - _TURNED[header.orientation]) % 360 // 90
    if quarters % 2:
        header = replace(header, width=header.height, height=header.width)
    return np.ascontiguousarray(np.rot90(array, quarters)), header


def image_columns(file: bytes, header: Header, array: NDArray[np.uint8], stored: bytes) -> dict[str, Any]:
    """The image columns of a row: what was fetched, and what is stored of it, whose pixels are `array`."""
    height, width = array.shape[:2]
    return {
        "image": stored,
        "width": width,
        "height": height,
        "original_width": header.width,
        "original_height": header.height,
        "sha256": hashlib.sha256(file).hexdigest(),
        "phash": phash(array),
        "fetch_status": "ok",
    }


def decode(data: bytes) -> NDArray[np.uint8]:
    """An image as the catalog stores it -> uint8 [H, W, 3], sRGB. Raises ImageError."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageError("not_an_image", f"a stored image can't be decoded: {error}") from error


def encode_image(array: NDArray[np.uint8], format: Format, quality: int = 95) -> bytes:
    """uint8 [H, W, 3], sRGB -> a file of `format`, with no metadata. The same pixels give the same bytes.

    `quality` (1 to 100) is JPEG's and WebP's; JPEG keeps full colour resolution from 90 on. Raises ImageError
    (too_many_pixels) for a side that is longer than the format can hold.
    """
    height, width = array.shape[:2]
    if max(height, width) > LONGEST_SIDE.get(format, max(height, width)):
        raise ImageError(
            "too_many_pixels",
            f"{width:,} x {height:,} pixels, and {format} holds {LONGEST_SIDE[format]:,} a side; "
            "store it as png, or smaller, or by its longest side",
        )
    image, file = Image.fromarray(array), io.BytesIO()
    match format:
        case "jpeg":
            image.save(file, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2, optimize=True)
        case "png":
            image.save(file, "PNG", compress_level=6)
        case "webp":
            image.save(file, "WEBP", quality=quality)
    return file.getvalue()


def square(array: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """[H, W, 3] -> [size, size, 3]: the middle square, resized (antialiased Lanczos)."""
    height, width = array.shape[:2]
    if (height, width) == (size, size):
        return array
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.array(Image.fromarray(array).resize((size, size), Image.Resampling.LANCZOS, box=box))


def phash(array: NDArray[np.uint8]) -> int:
    """The 64-bit perceptual hash of [H, W, 3]: ImageHash's `phash`, its first bit the highest."""
    bits = imagehash.phash(Image.fromarray(array)).hash.reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes())


def _to_rgb(image: Any) -> NDArray[np.uint8]:
    if image.interpretation != "srgb" or image.format != "uchar":
        image = image.colourspace("srgb")
    array: NDArray[np.uint8] = image.numpy()
    if array.shape[2] == 3:
        return array
    colour, alpha = array[..., :3].astype(np.uint16), array[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def readable(image: bytes | None) -> NDArray[np.uint8] | None:
    """A stored image, uint8 [H, W, 3]; None if it can't be read."""
    try:
        return decode(image or b"")
    except ImageError:
        return None
