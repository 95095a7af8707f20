"""What of a stranger's file is stored: the file itself if it holds nothing but pixels, else pixels alone."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from commoncanvas.core.errors import ImageError
from commoncanvas.images.header import WEB_FORMATS
from commoncanvas.images.image import decode
from commoncanvas.images.segments import is_plain
from commoncanvas.images.tasks import Store
from tests.catalog.imports import picture, picture_with_place


def stored(data: bytes, **said: Any) -> bytes:
    file: bytes = Store(**said)(data, WEB_FORMATS, nullcontext())["image"]
    return file


def encoded(image: Image.Image, format: str, **save: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_what_is_as_the_catalog_stores_it_stays_byte_for_byte(format: str) -> None:
    data = picture(format=format)
    assert stored(data, size=24) == data
    assert stored(data, size=23) != data


def test_what_hides_something_is_made_anew_and_looks_the_same() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    see_through = Image.new("RGBA", (24, 16), (255, 0, 0, 0))
    frames = [Image.new("RGB", (24, 16), colour) for colour in ("red", "blue")]
    note = PngImagePlugin.PngInfo()
    note.add_text("where", "52.5 N, 13.4 E")
    cases = {
        "place": picture_with_place(),
        "profile": picture(icc_profile=profile),
        "alpha": encoded(see_through, "PNG"),
        "grey": encoded(Image.new("L", (24, 16), 90), "PNG"),
        "comment": picture(comment=b"52.5 N, 13.4 E"),
        "text": picture(format="PNG", pnginfo=note),
        "film": picture() + b"moving pictures",
        "more after a PNG": picture(format="PNG") + b"x",
        "more after a WebP": picture(format="WEBP") + b"x",
        "cmyk": encoded(Image.new("CMYK", (24, 16)), "JPEG"),
        "animated": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "gif": encoded(frames[0], "GIF"),
    }
    for name, data in cases.items():
        kept = stored(data)
        assert kept != data, name
        opened = Image.open(io.BytesIO(kept))
        assert opened.mode == "RGB", name
        assert not opened.getexif(), name
        assert not {"icc_profile", "comment", "where"} & set(opened.info), name
        assert b"moving" not in kept, name
    # Transparent is white, as it is for a fetched image.
    assert np.all(decode(stored(cases["alpha"])) > 250)


def test_drawings_and_bombs_are_refused() -> None:
    with pytest.raises(ImageError, match="svg is"):
        stored(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    with pytest.raises(ImageError, match="pixels"):
        stored(picture(), max_pixels=100)


SECRET = b"52.5 N, 13.4 E, by Jane Doe"


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


NEEDED = (0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD)
HIDING = {
    "jfif's extension": segment(0xE0, b"JFXX\0\x10" + SECRET),
    "jfif with a thumbnail": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\3\3" + SECRET),
    "jfif with more behind it": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0" + SECRET),
    "adobe with more behind it": segment(0xEE, b"Adobe\0\x64\0\0\0\0\0" + SECRET),
    "adobe with other flags": segment(0xEE, b"Adobe\0\x64" + SECRET[:4] + b"\1"),
    **{
        f"segment {marker:02x}": segment(marker, SECRET)
        for marker in range(0xC0, 0xFF)
        if marker not in NEEDED
    },
    "no segment": SECRET,
}


@pytest.mark.parametrize("hiding", HIDING.values(), ids=HIDING)
@pytest.mark.parametrize("size", [(24, 16), (400, 330)])
def test_a_jpeg_stays_only_if_each_of_its_segments_is_known(size: tuple[int, int], hiding: bytes) -> None:
    data = picture(*size)
    assert stored(data) == data
    for place in (2, data.find(b"\xff\xdb"), data.find(b"\xff\xda"), len(data) - 2, len(data)):
        try:
            assert SECRET[:4] not in stored(data[:place] + hiding + data[place:])
        except ImageError as error:
            assert error.status in (
                "truncated",
                "unsupported_format",
            )  # nothing reads on behind such a segment


def test_a_jpeg_in_rgb_stays_with_adobes_mark_without_which_its_colours_are_wrong() -> None:
    image = Image.open(io.BytesIO(picture(format="PNG")))
    data = encoded(image, "JPEG", quality=95, keep_rgb=True)
    assert b"Adobe\0" in data
    assert stored(data) == data
    assert np.abs(decode(stored(data)).astype(int) - np.asarray(image)).mean() < 4


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}, {"optimize": True}])
def test_a_jpeg_stays_however_its_pixels_are_coded(options: dict[str, Any]) -> None:
    data = picture(200, 100, **options)
    assert stored(data) == data


PRIVATE = [
    b"caBX",
    b"sPLT",
    b"prVt",
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"eXIf",
    b"tIME",
    b"iCCP",
    b"cHRM",
    b"acTL",
    b"fdAT",
]


@pytest.mark.parametrize("name", [*PRIVATE, b"sRGB", b"gAMA", b"pHYs", b"IEND"])
def test_a_png_stays_only_if_each_of_its_chunks_is_known_and_as_long_as_it_has_to_be(name: bytes) -> None:
    data = picture(format="PNG")
    place = data.find(b"IDAT") - 4
    assert not is_plain(data[:place] + chunk(name, SECRET) + data[place:], "png")
    assert SECRET not in stored(
        data[:place] + chunk(name, SECRET) + data[place:] if name != b"IEND" else data
    )


def test_a_png_stays_with_the_marks_of_its_colours_and_resolution_and_with_nothing_behind_its_pixels() -> (
    None
):
    data = picture(format="PNG")
    place = data.find(b"IDAT") - 4
    known = chunk(b"sRGB", b"\0") + chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"pHYs", bytes(9))
    assert stored(data[:place] + known + data[place:]) == data[:place] + known + data[place:]
    assert not is_plain(data[:place] + chunk(b"gAMA", struct.pack(">I", 100_000)) + data[place:], "png")
    packed = data[place + 8 : -16]
    longer = zlib.compress(zlib.decompress(packed) + SECRET)
    for hiding in (packed + SECRET, longer):
        file = data[:place] + chunk(b"IDAT", hiding) + data[-12:]
        assert stored(file) != file
        assert SECRET not in stored(file)
    assert SECRET not in stored(data[:-12] + chunk(b"IDAT", SECRET) + data[-12:])


def test_a_webp_stays_only_if_it_is_one_chunk_of_pixels() -> None:
    data = picture(format="WEBP")
    more = b"abcd" + struct.pack("<I", len(SECRET) + 1) + SECRET + b"\0"
    for place in (12, len(data)):
        file = data[:4] + struct.pack("<I", len(data) - 8 + len(more)) + data[8:place] + more + data[place:]
        assert not is_plain(file, "webp")
    assert SECRET not in stored(file)
    assert SECRET not in stored(picture(format="WEBP", exif=b"Exif\0\0" + SECRET))
    assert stored(picture(format="WEBP", lossless=True)) == picture(format="WEBP", lossless=True)
