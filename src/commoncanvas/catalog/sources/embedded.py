"""Images that a source brings along: checked, brought to the catalog's size and hashed as `fetch` would have done."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyvips

from commoncanvas.catalog.sources.source import Report, SourceOptions
from commoncanvas.images.image import (
    FORMATS,
    MAX_PIXELS,
    WEB_FORMATS,
    Format,
    Header,
    ImageError,
    Side,
    encode_image,
    image_columns,
    load,
)

MAX_BYTES = 100_000_000

Pending = tuple[str, dict[str, Any], bytes | None]
"""(where it stands, the row without its image, the image file; None if it must still be fetched)"""


@dataclass(frozen=True)
class Storing:
    """How images are stored; `fetch` has the same defaults."""

    size: int = 512
    side: Side = "longest"
    format: Format = "jpeg"
    quality: int = 95
    max_pixels: int = MAX_PIXELS

    @classmethod
    def of(cls, options: SourceOptions) -> Storing:
        """What the options say of it, where they do."""
        return cls() if options.size is None else cls(size=options.size)

    def columns(self, data: bytes) -> dict[str, Any]:
        """The image columns of one file. Raises ImageError.

        A file that is already as the catalog stores images (small enough, sRGB, no metadata) stays byte for
        byte what it is; any other is encoded anew, so that no EXIF, and no place in it, comes along.
        """
        if len(data) > MAX_BYTES:
            raise ImageError("too_large", f"{len(data):,} bytes, more than {MAX_BYTES:,}")
        array, header = load(data, self.size, self.side, self.max_pixels, WEB_FORMATS)
        stored = data if self._fits(data, header) else encode_image(array, self.format, self.quality)
        return image_columns(data, header, array, stored)

    def _fits(self, data: bytes, header: Header) -> bool:
        bound = (max if self.side == "longest" else min)(header.width, header.height)
        if header.format not in FORMATS or bound > self.size or header.profiled:
            return False
        if _HIDING[header.format].search(data) or not _ends(header.format, data):
            return False
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
        return (image.interpretation, image.format, image.bands) == ("srgb", "uchar", 3)


# Segments and chunks that can hold EXIF, a comment or a second image. Compressed pixels can hold the same bytes by
# chance in PNG and WebP; such an image is made anew without need.
_HIDING = {
    "jpeg": re.compile(rb"\xff[\xe1-\xed\xef\xfe]"),
    "png": re.compile(rb"tEXt|iTXt|zTXt|eXIf|acTL"),
    "webp": re.compile(rb"EXIF|XMP |ANIM"),
}


def _ends(format: str, data: bytes) -> bool:
    """Whether nothing follows the image, as the film does in a phone's moving photos."""
    match format:
        case "jpeg":
            return data.find(b"\xff\xd9") == len(data) - 2
        case "png":
            return data.find(b"IEND") == len(data) - 8
    return int.from_bytes(data[4:8], "little") + 8 == len(data)


def image_bytes(value: Any) -> bytes | None:
    """The file in a cell: bytes, or a struct of bytes and path, as `datasets` stores images."""
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) and value else None


def with_images(pending: Iterable[Pending], storing: Storing, report: Report) -> Iterator[dict[str, Any]]:
    """The rows in their order, images stored, on all processors; a bad image costs its own row's image.

    Twice as many images as processors are in memory at once. `original_width` and `original_height` of a row are
    the input's own word on the size before anybody resized, and stay.
    """
    workers = os.cpu_count() or 1
    waiting: deque[tuple[str, dict[str, Any], Future[dict[str, Any]] | None]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        for where, row, data in pending:
            waiting.append((where, row, None if data is None else threads.submit(_columns, storing, data)))
            if len(waiting) >= 2 * workers:
                yield _filled(*waiting.popleft(), report)
        while waiting:
            yield _filled(*waiting.popleft(), report)


def _columns(storing: Storing, data: bytes) -> dict[str, Any]:
    try:
        return storing.columns(data)
    except ImageError as error:
        return {"fetch_status": error.status, "fetch_error": str(error)[:500]}


def _filled(
    where: str, row: dict[str, Any], image: Future[dict[str, Any]] | None, report: Report
) -> dict[str, Any]:
    if image is None:
        return row
    found = image.result()
    if found["fetch_status"] != "ok":
        report.remark(where, "kept without image", f"{found['fetch_status']}: {found['fetch_error'][:100]}")
    stated = {name: value for name, value in row.items() if value is not None}
    return {**row, **found, **{name: stated[name] for name in stated if name.startswith("original_")}}
