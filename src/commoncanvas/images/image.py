"""Images in and out of bytes: header, decode, resize, hash, encode. No files and no network here.

What comes from outside is read by libvips: many formats behind one reader, shrunk while it is decoded, the
interpreter's lock released meanwhile; JPEGs, nearly all of a photo catalog, by libjpeg-turbo at the scale that is
needed. What the catalog stores is small; Pillow writes and reads it at a fifth
of libvips' overhead an image.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Container, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import imagehash
import numpy as np
import pyvips
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from commoncanvas.errors import CommonCanvasError
from commoncanvas.images import exif

Side = Literal["longest", "shortest"]
Animated = Literal["first", "refuse"]
Format = Literal["jpeg", "png", "webp"]

SIDES = ("longest", "shortest")
FORMATS = ("jpeg", "png", "webp")
MAX_PIXELS = 200_000_000

WEB_FORMATS = ("jpeg", "png", "webp", "gif", "tiff", "heif")
"""What strangers' bytes may be: the formats whose readers are fuzzed. SVG's is not, and draws what it is told to."""
READS = (*WEB_FORMATS, "svg")
ANIMATED = ("first", "refuse")

_LOADERS = {f"VipsForeignLoad{'Nsgif' if name == 'gif' else name.capitalize()}Buffer": name for name in READS}
_SWAPS_SIDES = (5, 6, 7, 8)  # EXIF orientations that turn an image by 90 degrees
# Steps down and to the right that set the others, and the turned ones after their sides are swapped, upright.
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
LARGE_PIXELS = 50_000_000
"""Larger ones are decoded one at a time: a progressive JPEG takes 6 bytes a pixel, however small it is to become."""
MAX_SCANS = 100
"""A JPEG with more, each of them a pass over the whole image, is left to libvips, which refuses it."""
SCALED_SIDE = 320
"""JPEGs with a shorter shorter side are left to libvips: little is gained there, and libjpeg's rounding weighs more."""
MISPLACED = 0.05
"""Pixels that libvips may have over, half of it to either side; else Pillow resizes, in twice the time."""
_EVEN_CHROMA = ("444", "420", "Gray")
"""Subsamplings of which libjpeg scales the colours no more than the brightness; of others it leaves half a side's."""
_large = threading.Lock()

# No operation is repeated here, so libvips' cache of them would only hold memory; and images are worked on
# side by side, so threads within one would only get in each other's way.
pyvips.cache_set_max(0)
pyvips.vips_lib.vips_concurrency_set(1)


class ImageError(CommonCanvasError):
    """Bytes that don't become an image; `status` is the `fetch_status` that it means."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Header:
    """What a file says before a pixel is decoded; sides as seen, after orientation."""

    format: str
    width: int
    height: int
    profiled: bool
    """Its colours need a profile to become sRGB."""
    orientation: int = 1
    """EXIF's, 1 to 8; 1 is upright."""
    animated: bool = False
    many_scans: bool = False
    """A JPEG's pixels come in more than one pass, as a progressive one's do."""
    camera: str | None = None
    """What EXIF says of maker and model."""
    taken_at: str | None = None
    """When EXIF says the photo was taken, ISO 8601, in the camera's time where no zone is given."""

    @property
    def scalable(self) -> bool:
        return self.format == "svg"


def read_header(data: bytes, formats: Sequence[str] = READS) -> Header:
    """Raises ImageError for bytes that are no image of one of `formats`, whatever their name says."""
    pyvips.vips_lib.vips_error_clear()  # where warnings about earlier images wait
    # Looked up before anything is opened: libvips knows formats that strangers' bytes should not be fed to.
    loader = pyvips.vips_lib.vips_foreign_find_load_buffer(data, len(data))
    format = _LOADERS.get(pyvips.ffi.string(loader).decode()) if loader != pyvips.ffi.NULL else None
    if format is None or format not in formats:
        raise ImageError(
            "not_an_image",
            f"{f'{format} is' if format else 'not an image'} of a format that is read here ({', '.join(formats)})",
        )
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
    except pyvips.Error as error:
        raise _broken(data, error) from error
    fields = set(image.get_fields())
    width, height = image.width, image.height
    orientation = image.get("orientation") if "orientation" in fields else 1
    if orientation in _SWAPS_SIDES:
        width, height = height, width
    return Header(
        format,
        width,
        height,
        profiled="icc-profile-data" in fields or image.interpretation == "cmyk",
        orientation=orientation,
        animated=_animated(format, image, fields, data),
        many_scans="jpeg-multiscan" in fields and bool(image.get("jpeg-multiscan")),
        camera=exif.camera(image, fields),
        taken_at=exif.taken_at(image, fields),
    )


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
    large: AbstractContextManager[Any] | None = None,
) -> tuple[NDArray[np.uint8], Header]:
    """An image file -> uint8 [H, W, 3] in sRGB, upright, white where it was transparent, `side` at `size`.

    Drawings (SVG) are rendered at that size, pixels never enlarged; of an animation the first frame is taken, or it
    is refused. An image of more than LARGE_PIXELS is decoded inside `large`, by default a lock of this process. Raises
    ImageError: not_an_image, truncated, refused, or too_many_pixels, which is seen before anything is decoded.
    """
    header = read_header(data, formats)
    if header.animated and animated == "refuse":
        raise ImageError("refused", f"an animated {header.format}")
    width, height = target_size(header.width, header.height, size, side, enlarge=header.scalable)
    pixels = max(width * height, 0 if header.scalable else header.width * header.height)
    if pixels > max_pixels:
        raise ImageError("too_many_pixels", f"{pixels:,} pixels, more than {max_pixels:,}")
    with (large or _large) if pixels > LARGE_PIXELS else nullcontext():
        if (
            header.format == "jpeg"
            and not header.profiled
            and min(header.width, header.height) >= SCALED_SIDE
        ):
            array = _load_jpeg(data, width, height, header)
            if array is not None:
                return array, header
        try:
            return _to_rgb(_thumbnail(data, width, height, header)), header
        except pyvips.Error as error:
            raise _broken(data, error) from error


def _thumbnail(data: bytes, width: int, height: int, header: Header) -> Any:
    if header.scalable:
        # Parsed once less than by `thumbnail_buffer`.
        image = pyvips.Image.svgload_buffer(data, scale=max(width / header.width, height / header.height))
        if (image.width, image.height) != (width, height):
            image = image.thumbnail_image(width, height=height, size="force")
        return image
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


def _load_jpeg(data: bytes, width: int, height: int, header: Header) -> NDArray[np.uint8] | None:
    """A JPEG without a profile, upright at (width, height); None for one that libvips must judge.

    Decoded at the smallest of libjpeg's scales that isn't below the target. libvips, which leaves itself a factor of
    two, takes half as long again.
    """
    if header.many_scans and data.count(b"\xff\xda") > MAX_SCANS:
        return None
    columns, rows = header.width, header.height
    turned = header.orientation in _SWAPS_SIDES
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

    `quality` (1 to 100) is JPEG's and WebP's; JPEG keeps full colour resolution from 90 on.
    """
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


def _animated(format: str, image: Any, fields: Container[str], data: bytes) -> bool:
    if format == "png":
        return (
            b"acTL" in data[: data.find(b"IDAT")]
        )  # libvips reads an animated PNG as the still one it begins with
    return format in ("gif", "webp") and "n-pages" in fields and image.get("n-pages") > 1


def _to_rgb(image: Any) -> NDArray[np.uint8]:
    if image.interpretation != "srgb" or image.format != "uchar":
        image = image.colourspace("srgb")
    array: NDArray[np.uint8] = image.numpy()
    if array.shape[2] == 3:
        return array
    colour, alpha = array[..., :3].astype(np.uint16), array[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _broken(data: bytes, error: pyvips.Error) -> ImageError:
    return ImageError("truncated" if ends_early(data) else "not_an_image", _reason(error))


def ends_early(data: bytes) -> bool:
    """Whether bytes that begin as a JPEG, PNG, GIF or WebP file lack what ends one."""
    tail = data[-1024:]
    if data.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" not in tail
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in tail
    if data.startswith((b"GIF87a", b"GIF89a")):
        return not data.endswith(b"\x3b")
    if data.startswith(b"RIFF"):
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    return False


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in str(error.detail or error.message).splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))[:300]
