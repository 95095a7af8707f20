"""Decode, resize, hash and encode images in memory. No files and no network here.

libvips reads images from outside: it knows many formats and shrinks while it decodes. `images.jpeg` reads most JPEGs.
The catalog's stored images are small: Pillow reads and writes them with a fifth of libvips' overhead per image.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, get_args

import imagehash
import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from commoncanvas.core.errors import ImageError
from commoncanvas.images.header import READS, Header, broken, out_of_memory, read_header
from commoncanvas.images.jpeg import damage, forget_warnings, load_jpeg
from commoncanvas.images.samples import in_levels, is_odd
from commoncanvas.options.fetch import DEFAULTS, Animated, Format, Side

FORMATS: tuple[Format, ...] = get_args(Format)
MAX_PIXELS = DEFAULTS.max_pixels

MAX_PIXEL_BYTES = 6
"""Most decoded bytes per pixel of `max_pixels`: three colours of 16 bits."""
LARGE_BYTES = 150_000_000
"""Images that need more bytes are decoded one at a time, across all processes."""
LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383}
"""Longest side in pixels that a format allows. PNG has no limit."""
_TURNED = {1: 0, 3: 180, 6: 270, 8: 90}
"""EXIF orientations without mirroring -> their counterclockwise rotation in degrees."""

# No operation is repeated here, so libvips' cache would only use memory. Images are processed in parallel, so threads
# within one image would only slow each other down.
pyvips.cache_set_max(0)
pyvips.vips_lib.vips_concurrency_set(1)


def target_size(width: int, height: int, size: int, side: Side, enlarge: bool = False) -> tuple[int, int]:
    """(width, height) with the longest or shortest side at `size`. Never enlarges, unless `enlarge`."""
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
    """An image file -> uint8 [H, W, 3] in sRGB, upright, on white if it is transparent, with `side` at `size`.

    SVG drawings are rendered at that size; raster images are never enlarged. Of an animation, the first frame is used,
    or the file is refused. An image that needs more than LARGE_BYTES is decoded inside `large`. Not thread-safe.
    Raises ImageError: not_an_image, unsupported_format, truncated, refused, or too_many_pixels (found before decoding).
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
    if header.format == "jpeg" and not header.profiled:
        scaled = load_jpeg(data, width, height, header)
        if scaled is not None:
            return scaled, replace(header, strict=True)
    array = _to_rgb(_thumbnail(data, width, height, header))
    if reason := damage():
        raise ImageError("truncated", f"damaged or cut short: {reason}")
    return array, header


def _thumbnail(data: bytes, width: int, height: int, header: Header) -> Any:
    if header.scalable:
        # `thumbnail_buffer` would parse the file twice.
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
        # Set as a loader option: libvips 8.18 ignores the `fail_on` of `thumbnail_buffer` itself.
        option_string="[fail_on=error]",
        # Only if needed: for a small image, this transform costs more than everything else.
        **({"output_profile": "srgb"} if header.profiled else {}),
    )


def turned(array: NDArray[np.uint8], header: Header, rotation: int) -> tuple[NDArray[np.uint8], Header]:
    """The result of `load`, rotated upright. `rotation`: counterclockwise degrees (a multiple of 90) for the file.

    The rotation is relative to the file's pixels, as in Open Images, so a rotation that EXIF already gave is not
    applied twice. 0 means unknown. A mirrored file is left as EXIF says.
    """
    if not rotation or header.orientation not in _TURNED:
        return array, header
    quarters = (rotation - _TURNED[header.orientation]) % 360 // 90
    if quarters % 2:
        header = replace(header, width=header.height, height=header.width)
    return np.ascontiguousarray(np.rot90(array, quarters)), header


def image_columns(file: bytes, header: Header, array: NDArray[np.uint8], stored: bytes) -> dict[str, Any]:
    """The image columns of a row: the fetched `file`, and the bytes to store, whose pixels are `array`."""
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
    """A stored image -> uint8 [H, W, 3], sRGB. Raises ImageError."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageError("not_an_image", f"a stored image can't be decoded: {error}") from error


def encode_image(array: NDArray[np.uint8], format: Format, quality: int = 95) -> bytes:
    """uint8 [H, W, 3], sRGB -> a file of `format` without metadata. The same pixels give the same bytes.

    `quality` (1 to 100) is for JPEG and WebP; from 90 on, JPEG keeps full colour resolution. Raises ImageError
    (too_many_pixels) if a side is longer than the format allows.
    """
    height, width = array.shape[:2]
    if max(height, width) > LONGEST_SIDE.get(format, max(height, width)):
        raise ImageError(
            "too_many_pixels",
            f"{width:,} x {height:,} pixels, but {format} allows {LONGEST_SIDE[format]:,} per side; "
            "store it as PNG, at a smaller size, or by its longest side",
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
    """[H, W, 3] -> [size, size, 3]: the centre square, resized (antialiased Lanczos)."""
    height, width = array.shape[:2]
    if (height, width) == (size, size):
        return array
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.array(Image.fromarray(array).resize((size, size), Image.Resampling.LANCZOS, box=box))


def phash(array: NDArray[np.uint8]) -> int:
    """The 64-bit perceptual hash of [H, W, 3]: ImageHash's `phash`; its first bit is the highest bit."""
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
    """A stored image as uint8 [H, W, 3]; None if it can't be read."""
    try:
        return decode(image or b"")
    except ImageError:
        return None
