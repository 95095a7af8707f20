"""Files of many kinds, sound, odd and damaged, and what each has to become: the picture it shows, or a status."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.images.test_image import file, photo

Array = NDArray[np.uint8]

EOI = b"\xff\xd9"
COLOURS = photo(120, 80)
GREY = COLOURS.convert("L")
LARGE = photo(400, 300)
TRUNCATED, UNSUPPORTED, NO_IMAGE, TOO_MANY = (
    "truncated",
    "unsupported_format",
    "not_an_image",
    "too_many_pixels",
)


@dataclass(frozen=True)
class Shows:
    """The picture, and by how many levels of 255 its pixels may be off on average."""

    image: Image.Image
    off: float = 4.0

    def array(self) -> Array:
        return np.asarray(self.image.convert("RGB"))


Kind = tuple[str, bytes, str | Shows]
COLOUR, EXACT, SHADES = Shows(COLOURS), Shows(COLOURS, 0.6), Shows(GREY, 0.6)


def kinds() -> Iterator[Kind]:
    yield from jpegs()
    yield from damaged_jpegs()
    yield from pngs()
    yield from others()
    yield from tiffs()
    yield from odd_samples()
    yield from unread()


def cut(data: bytes, part: float = 0.6) -> bytes:
    return data[: int(len(data) * part)]


def jpegs() -> Iterator[Kind]:
    data, large = file(COLOURS, "JPEG", quality=95), file(LARGE, "JPEG", quality=95)
    scan = data.find(b"\xff\xda")
    yield "jpeg", data, COLOUR
    yield "jpeg, progressive", file(COLOURS, "JPEG", quality=95, progressive=True), COLOUR
    yield "jpeg, restart marks", file(COLOURS, "JPEG", quality=95, restart_marker_blocks=3), COLOUR
    yield "jpeg, decoded at a scale", large, Shows(LARGE)
    yield "jpeg, grey", file(GREY, "JPEG", quality=95), Shows(GREY)
    yield "jpeg, two pictures", file(COLOURS, "MPO", quality=95), COLOUR
    # What libjpeg warns of and what harms no pixel.
    yield "jpeg, junk before a marker", data[:2] + b"junk" + data[2:], COLOUR
    yield "jpeg, large, junk before a marker", large[:2] + b"junk" + large[2:], Shows(LARGE)
    yield "jpeg, junk behind its end", data + b"junk" * 99, COLOUR
    yield "jpeg, unknown JFIF revision", data.replace(b"JFIF\0\1", b"JFIF\0\7", 1), COLOUR
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09"
    yield "jpeg, unknown Adobe transform", data[:2] + adobe + data[20:], COLOUR
    spectral = bytearray(data)
    spectral[scan + 12] = 5
    yield "jpeg, odd scan parameters", bytes(spectral), COLOUR


def damaged_jpegs() -> Iterator[Kind]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "small": file(COLOURS, "JPEG", quality=95),
        "large": file(LARGE, "JPEG", quality=95),
        "progressive": file(LARGE, "JPEG", quality=95, progressive=True),
        "restart marks": file(LARGE, "JPEG", quality=95, restart_marker_blocks=4),
        "grey": file(LARGE.convert("L"), "JPEG", quality=95),
        "cmyk": file(LARGE.convert("CMYK"), "JPEG", quality=95),
        "with a profile": file(LARGE, "JPEG", quality=95, icc_profile=profile),
    }
    for name, data in files.items():
        yield f"jpeg, {name}, cut", cut(data), TRUNCATED
        yield f"jpeg, {name}, cut and ended", cut(data) + EOI, TRUNCATED
    data = files["large"]
    middle = len(data) * 2 // 3
    yield "jpeg, cut at 98 % and ended", cut(data, 0.98) + EOI, TRUNCATED
    yield "jpeg, a hole", data[:middle] + data[middle + 1000 :], TRUNCATED
    yield "jpeg, headers within", data[:middle] + data[:300] + data[middle:], TRUNCATED
    yield "jpeg, cut, and a harmless warning first", data[:2] + b"junk" + cut(data)[2:] + EOI, TRUNCATED
    yield "jpeg, headers alone", data[: data.find(b"\xff\xda")] + EOI, TRUNCATED


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND")


def pngs() -> Iterator[Kind]:
    data = file(COLOURS, "PNG")
    head, packed = data[8:33], zlib.compress(zlib.decompress(data[data.find(b"IDAT") + 4 : -16]))
    vips = pyvips.Image.new_from_array(np.asarray(COLOURS))
    yield "png", data, EXACT
    yield "png, interlaced", vips.pngsave_buffer(interlace=True), EXACT
    yield "png, 16 bits", (vips * 257).cast("ushort").pngsave_buffer(), EXACT
    yield "png, grey", file(GREY, "PNG"), SHADES
    yield "png, palette", file(COLOURS.quantize(250), "PNG"), Shows(COLOURS, 8)
    yield "png, animated", file(COLOURS, "PNG", save_all=True, append_images=[LARGE.resize((120, 80))]), EXACT
    yield "png, more behind its pixels", png(head, chunk(b"IDAT", packed + b"junk" * 50)), EXACT
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))
    yield "png, a text that unpacks to 100 MB", png(head, text, chunk(b"IDAT", packed)), EXACT
    yield "png, cut", cut(data), TRUNCATED
    yield "png, cut and ended", cut(data) + chunk(b"IEND"), TRUNCATED
    yield "png, pixels cut", png(head, chunk(b"IDAT", cut(packed))), TRUNCATED
    rows = zlib.decompress(packed)
    yield "png, too few rows", png(head, chunk(b"IDAT", zlib.compress(cut(rows)))), TRUNCATED
    yield "png, no pixels", png(head), TRUNCATED
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    yield "png, one byte changed", bytes(flipped), TRUNCATED
    huge = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    yield "png, of 3.6 billion pixels", png(chunk(b"IHDR", huge), chunk(b"IDAT", packed)), TOO_MANY


def others() -> Iterator[Kind]:
    gif, webp, avif = (
        file(COLOURS, "GIF"),
        file(COLOURS, "WEBP", quality=95),
        file(COLOURS, "AVIF", quality=95),
    )
    palette = Shows(COLOURS.convert("P").convert("RGB"), 20)
    yield "gif", gif, palette
    yield "gif, without its end mark", gif[:-1], palette
    yield "gif, junk behind its end", gif + b"junk", palette
    yield "gif, cut", cut(gif), TRUNCATED
    yield "gif, cut and ended", cut(gif) + b"\0\x3b", TRUNCATED
    yield "webp", webp, COLOUR
    yield "webp, lossless", file(COLOURS, "WEBP", lossless=True), EXACT
    yield "webp, cut", cut(webp), TRUNCATED
    pixels = cut(webp[20:])[: len(webp) // 4 * 2]
    mended = b"WEBP" + webp[12:16] + struct.pack("<I", len(pixels)) + pixels
    mended = b"RIFF" + struct.pack("<I", len(mended)) + mended
    yield "webp, cut and its lengths mended", mended, TRUNCATED
    yield "avif", avif, COLOUR
    yield "avif, cut", cut(avif), TRUNCATED
    yield "avif, its end zeroed", cut(avif) + bytes(len(avif) - len(cut(avif))), TRUNCATED
    yield "heic, without a decoder", heic(), UNSUPPORTED


def vips(image: Image.Image) -> Any:
    return pyvips.Image.new_from_array(np.asarray(image))


def tiffs() -> Iterator[Kind]:
    colour, grey = vips(COLOURS), vips(GREY)
    for compression in ("none", "lzw", "deflate", "packbits"):
        data = colour.tiffsave_buffer(compression=compression)
        yield f"tiff, {compression}", data, EXACT
        yield f"tiff, {compression}, cut", cut(data), TRUNCATED
    plain = file(COLOURS, "TIFF")  # its directory comes first
    yield "tiff, cut within its pixels", cut(plain), TRUNCATED
    yield "tiff, jpeg inside", colour.tiffsave_buffer(compression="jpeg", Q=95), COLOUR
    yield "tiff, tiles", colour.tiffsave_buffer(tile=True, tile_width=16, tile_height=16), EXACT
    yield "tiff, big", colour.tiffsave_buffer(bigtiff=True), EXACT
    yield "tiff, pyramid", colour.tiffsave_buffer(pyramid=True, tile=True), EXACT
    yield "tiff, pages", file(COLOURS, "TIFF", save_all=True, append_images=[photo(50, 50)]), EXACT
    yield "tiff, white is zero", grey.tiffsave_buffer(miniswhite=True), SHADES
    yield (
        "tiff, 1 bit",
        (grey > 128).tiffsave_buffer(bitdepth=1),
        Shows(GREY.point(lambda v: 255 * (v > 128)), 0.6),
    )
    yield "tiff, lab", colour.colourspace("lab").tiffsave_buffer(), EXACT
    yield "tiff, xyz", colour.colourspace("xyz").tiffsave_buffer(), COLOUR
    clear = Image.new("RGBA", (120, 80), (0, 0, 255, 0))
    clear.paste(COLOURS, (0, 0))
    yield "tiff, alpha", file(clear, "TIFF"), EXACT
    yield (
        "tiff, nothing but alpha",
        file(Image.new("RGBA", (120, 80), (0, 0, 255, 0)), "TIFF"),
        Shows(Image.new("RGB", (120, 80), "white"), 0),
    )
    ink = np.zeros((80, 120, 5), np.uint8)
    ink[..., 4] = 255
    paper = pyvips.Image.new_from_array(ink, interpretation="cmyk").tiffsave_buffer()
    yield "tiff, cmyk with alpha", paper, Shows(Image.new("RGB", (120, 80), "white"), 3)
    for bands in (5, 6, 240):
        many = pyvips.Image.new_from_array(np.zeros((80, 120, bands), np.uint8))
        yield f"tiff, {bands} bands", many.tiffsave_buffer(compression="deflate"), UNSUPPORTED


def odd_samples() -> Iterator[Kind]:
    colour, grey = vips(COLOURS), vips(GREY)
    light = colour.colourspace("scrgb")
    yield "tiff, float up to 1, light", light.cast("float").tiffsave_buffer(), EXACT
    bright = light.cast("float").draw_rect([9.0, 9.0, 9.0], 0, 0, 120, 4, fill=True)
    white = COLOURS.copy()
    white.paste((255, 255, 255), (0, 0, 120, 4))
    yield "tiff, float, some of it brighter than white", bright.tiffsave_buffer(), Shows(white, 0.6)
    yield "tiff, float up to 255", colour.cast("float").tiffsave_buffer(), EXACT
    yield "tiff, float up to 65,535", (colour * 257).cast("float").tiffsave_buffer(), EXACT
    yield "tiff, float, grey, up to 255", grey.cast("float").tiffsave_buffer(), SHADES
    yield (
        "tiff, float, grey, up to 1",
        light[1].cast("float").tiffsave_buffer(),
        Shows(COLOURS.getchannel(1), 0.6),
    )
    yield "tiff, float, alpha", colour.bandjoin(255).cast("float").tiffsave_buffer(), EXACT
    for name in ("int", "uint", "short"):
        yield f"tiff, {name} up to 255", colour.cast(name).tiffsave_buffer(), EXACT
    yield "tiff, int, grey, up to 65,535", (grey * 257).cast("int").tiffsave_buffer(), SHADES
    yield "tiff, 16 bits", (colour * 257).cast("ushort").copy(interpretation="rgb16").tiffsave_buffer(), EXACT
    yield "tiff, uint up to 4 billion", (grey * 16_843_009.0).cast("uint").tiffsave_buffer(), UNSUPPORTED
    yield "tiff, int below zero", (grey * -1.0).cast("int").tiffsave_buffer(), UNSUPPORTED
    yield "tiff, not a number", (grey * float("nan")).cast("float").tiffsave_buffer(), UNSUPPORTED
    yield "tiff, infinite", (grey * float("inf")).cast("float").tiffsave_buffer(), UNSUPPORTED
    yield "tiff, double", colour.cast("double").tiffsave_buffer(), UNSUPPORTED
    yield "tiff, complex", colour.complexform(colour).tiffsave_buffer(), UNSUPPORTED
    yield "tiff, ycbcr", file(COLOURS.convert("YCbCr"), "TIFF"), UNSUPPORTED
    yield "bigtiff", colour.tiffsave_buffer(bigtiff=True), EXACT
    yield "bigtiff, ycbcr", file(COLOURS.convert("YCbCr"), "TIFF", big_tiff=True), UNSUPPORTED
    inside = bytearray(
        vips(LARGE).tiffsave_buffer(compression="jpeg", tile=True, tile_width=512, tile_height=512)
    )
    begin = inside.find(b"\xff\xda")
    middle = (begin + inside.find(EOI, begin)) // 2
    inside[middle : middle + 2] = EOI
    yield "tiff, a cut jpeg inside", bytes(inside), TRUNCATED
    yield "tiff, 8-bit lab", file(COLOURS.convert("LAB"), "TIFF"), UNSUPPORTED


def unread() -> Iterator[Kind]:
    for name in ("BMP", "TGA", "JPEG2000", "SGI", "ICNS", "DDS"):
        yield name.lower(), file(COLOURS, name), UNSUPPORTED
    yield "ico", file(COLOURS.resize((64, 64)), "ICO"), UNSUPPORTED
    yield "jpeg xl", b"\xff\x0a" + bytes(50), UNSUPPORTED
    yield "psd", b"8BPS\0\1" + bytes(50), UNSUPPORTED
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', UNSUPPORTED
    yield "pdf", file(COLOURS, "PDF"), NO_IMAGE
    yield "mp4", b"\0\0\0\x20ftypisom" + bytes(99), NO_IMAGE
    yield "html", b"<!doctype html><title>404</title>", NO_IMAGE
    yield "nothing", b"", NO_IMAGE
    yield "zeros", bytes(5000), NO_IMAGE
    yield "noise", np.random.default_rng(5).bytes(5000), NO_IMAGE


def box(name: bytes, *content: bytes) -> bytes:
    joined = b"".join(content)
    return struct.pack(">I", 8 + len(joined)) + name + joined


def full_box(name: bytes, version: int, *content: bytes) -> bytes:
    return box(name, struct.pack(">I", version << 24), *content)


def heic() -> bytes:
    """A HEIF file (ISO 23008-12) of one picture coded with HEVC, without its pixels."""
    settings = bytes.fromhex("010160000000900000000000" + "5af000fcfdf8f800000f00")
    properties = box(
        b"iprp",
        box(b"ipco", box(b"hvcC", settings), full_box(b"ispe", 0, struct.pack(">II", 120, 80))),
        full_box(b"ipma", 0, struct.pack(">IHB", 1, 1, 2), b"\x81\x02"),
    )
    item = full_box(b"infe", 2, struct.pack(">HH", 1, 0), b"hvc1\0")
    begin = box(b"ftyp", b"heic", bytes(4), b"mif1heic")

    def meta(place: int) -> bytes:
        return full_box(
            b"meta",
            0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", 1)),
            full_box(b"iinf", 0, struct.pack(">H", 1), item),
            properties,
            full_box(b"iloc", 0, b"\x44\0", struct.pack(">HHHHII", 1, 1, 0, 1, place, 40)),
        )

    place = len(begin) + len(meta(0)) + 8
    return begin + meta(place) + box(b"mdat", struct.pack(">I", 36), bytes(36))
