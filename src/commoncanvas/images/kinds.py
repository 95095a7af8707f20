"""Recognise image formats by their first bytes, also formats that can't be read here. Pure."""

from __future__ import annotations

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\xff\x0a", "jpeg xl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jpeg xl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg 2000"),
    (b"\xff\x4f\xff\x51", "jpeg 2000"),
    (b"8BPS\0", "psd"),
    (b"\0\0\1\0", "ico"),
    (b"v/1\1", "exr"),
    (b"#?RADIANCE", "hdr"),
    (b"DDS ", "dds"),
    (b"gimp xcf", "xcf"),
    (b"AT&TFORM", "djvu"),
    (b"icns", "icns"),
    (b"\x01\xda", "sgi"),
)
_HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx mif1 msf1 avif avis".split())
_TGA_END = b"TRUEVISION-XFILE.\0"


def kind_of(data: bytes) -> str | None:
    """The image format of `data`, by its first bytes; None if it is unknown."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return "heif"
    if data.startswith(b"BM") and data[15:18] == b"\0\0\0":  # the size of the header that follows
        return "bmp"
    if data.endswith(_TGA_END):
        return "tga"
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    return None
