"""Check that an image file contains only pixels and the data needed to show them. Pure.

The lists say what is allowed, because programs invent segments and chunks with places, names and even second images.
Bytes after a JPEG's last pixel are not found here, but by `jpeg.is_strict`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator

# Segments needed for decoding: sequential and progressive frames with Huffman codes, tables, restarts, scans.
_JPEG_NEEDED = frozenset((0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD))
# JFIF without a thumbnail; Adobe's colour coding, without other flags.
_JPEG_KNOWN = {
    0xE0: re.compile(rb"JFIF\0\x01[\0-\x02][\0-\x02].{4}\0\0", re.DOTALL),
    0xEE: re.compile(rb"Adobe\0[\x64\x65][\0\x40\x80\xc0]\0\0\0[\0-\x02]"),
}
_SCAN_END = re.compile(rb"\xff[^\0\xd0-\xd7]", re.DOTALL)
# Chunk -> allowed size: pixels, sRGB, and physical size.
_PNG_CHUNKS = {
    b"IHDR": 13,
    b"PLTE": None,
    b"IDAT": None,
    b"IEND": 0,
    b"sRGB": 1,
    b"gAMA": 4,
    b"pHYs": 9,
}
_SRGB_GAMMA = (45455).to_bytes(4)


def is_plain(data: bytes, format: str) -> bool:
    """Whether a decodable file of `format` (jpeg, png or webp) contains only its pixels."""
    return _PLAIN[format](data)


def _jpeg(data: bytes) -> bool:
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        known = _JPEG_KNOWN.get(marker)
        if marker not in _JPEG_NEEDED and not (known and known.fullmatch(data, place + 4, place + 2 + size)):
            return False
        place += 2 + size
        if marker == 0xDA:
            end = _SCAN_END.search(data, place)
            if end is None:
                return False
            place = end.start()
    return data[place:] == b"\xff\xd9"


def _png(data: bytes) -> bool:
    packed = bytearray()
    for kind, content in _png_chunks(data):
        if kind not in _PNG_CHUNKS or _PNG_CHUNKS[kind] not in (None, len(content)):
            return False
        if kind == b"gAMA" and content != _SRGB_GAMMA:
            return False
        if kind == b"IDAT":
            packed += content
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour, interlaced = data[24], data[25], data[28]
    row = 1 + -(-width * depth * (3 if colour == 2 else 1) // 8)
    # Exactly the bytes of its rows, and nothing after them, compressed or not.
    unpacking = zlib.decompressobj()
    rows = unpacking.decompress(packed, height * row + 1)
    return not interlaced and len(rows) == height * row and unpacking.eof and not unpacking.unused_data


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; an unknown kind for anything else, and for bytes after the end."""
    place, kind = 8, b""
    while place < len(data):
        size = int.from_bytes(data[place : place + 4])
        if kind == b"IEND" or place + 12 + size > len(data):
            yield b"", b""
            return
        kind = data[place + 4 : place + 8]
        yield kind, data[place + 8 : place + 8 + size]
        place += 12 + size


def _webp(data: bytes) -> bool:
    """The simple form: one chunk of pixels, lossy or lossless, that fills the file."""
    size = int.from_bytes(data[16:20], "little")
    return data[12:16] in (b"VP8 ", b"VP8L") and 20 + size + size % 2 == len(data) == 8 + int.from_bytes(
        data[4:8], "little"
    )


_PLAIN: dict[str, Callable[[bytes], bool]] = {"jpeg": _jpeg, "png": _png, "webp": _webp}
