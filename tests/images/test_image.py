"""Images in and out of bytes."""

from __future__ import annotations

import io
import zlib
from typing import get_args

import imagehash
import numpy as np
import pytest
import pyvips
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from commoncanvas.core.errors import ImageError
from commoncanvas.images import image as images
from commoncanvas.images.image import decode, encode_image, load, phash, square, target_size
from commoncanvas.images.jpeg import SCALED_SIDE
from commoncanvas.options.fetch import Side

SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" viewBox="0 0 40 20">
<rect width="20" height="20" fill="#ff0000"/></svg>"""


def photo(width: int = 60, height: int = 40) -> Image.Image:
    """Smooth colours that are different at each corner."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([255 * x / width, 255 * y / height, 255 - 255 * x / width], axis=-1).astype(np.uint8)
    )


def file(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_each_format_is_read_resized_and_keeps_its_colours(format: str) -> None:
    array, header = load(file(photo(), format), 30)
    assert array.shape == (20, 30, 3)
    assert array.dtype == np.uint8
    assert (header.width, header.height) == (60, 40)
    expected = np.asarray(photo().resize((30, 20), Image.Resampling.LANCZOS), float)
    assert np.abs(array - expected).mean() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    grey = photo().convert("L")
    image = (
        grey.convert("I").point(lambda value: value * 257).convert("I;16")
        if mode == "I;16"
        else grey.convert(mode)
    )
    array, _ = load(file(image, "TIFF" if mode in ("CMYK", "F") else "PNG"), 60)
    assert array.shape == (40, 60, 3)
    assert array.dtype == np.uint8
    if mode not in ("1", "P"):
        assert np.abs(array.mean(2) - np.asarray(grey, float)).mean() < (25 if mode == "CMYK" else 3)


def test_transparency_becomes_white() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 10, 20))
    array, _ = load(file(clear, "PNG"), 20)
    assert (array[:, 15] == 255).all()
    assert (array[:, 5] == [0, 0, 255]).all()


def test_drawings_are_rendered_at_the_size_asked_for() -> None:
    array, header = load(SVG, 64)
    assert array.shape == (32, 64, 3)
    assert (header.width, header.height) == (40, 20)
    assert (array[16, 10] == [255, 0, 0]).all()
    assert (array[16, 50] == 255).all()
    assert load(SVG, 64, "shortest")[0].shape == (64, 128, 3)
    odd = SVG.replace(b'height="20" viewBox="0 0 40 20"', b'height="17" viewBox="0 0 40 17"')
    assert load(odd, 33)[0].shape == (14, 33, 3)


def test_the_shortest_or_longest_side_is_exact_and_pixels_are_not_enlarged() -> None:
    data = file(photo(301, 199), "JPEG")
    assert load(data, 64, "longest")[0].shape == (42, 64, 3)
    assert load(data, 64, "shortest")[0].shape == (64, 97, 3)
    assert load(data, 1000)[0].shape == (199, 301, 3)


@given(
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.integers(1, 2000),
    st.sampled_from(get_args(Side)),
    st.booleans(),
)
def test_target_size_has_the_side_asked_for_and_keeps_the_shape(
    width: int, height: int, size: int, side: images.Side, enlarge: bool
) -> None:
    made = target_size(width, height, size, side, enlarge)
    measure = max if side == "longest" else min
    assert min(made) >= 1
    if not enlarge and measure(width, height) <= size:
        assert made == (width, height)
    else:
        assert measure(made) == size
        factor = size / measure(width, height)
        assert abs(made[0] - width * factor) <= max(0.5, 1 - width * factor)
        assert abs(made[1] - height * factor) <= max(0.5, 1 - height * factor)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright_whatever_their_exif_says(orientation: int) -> None:
    upright = np.asarray(photo(60, 40))
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    array, header = load(file(Image.fromarray(np.ascontiguousarray(undo)), "JPEG", quality=95, exif=exif), 60)
    assert (header.width, header.height) == (60, 40)
    assert np.abs(array.astype(float) - upright).mean() < 5


@pytest.mark.parametrize("format", images.FORMATS)
def test_what_is_stored_has_no_metadata_left(format: images.Format) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET description"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 29: "2019:SECRET"})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = file(photo(), "JPEG", exif=exif, icc_profile=profile, comment=b"SECRET comment")
    assert b"SECRET" in data
    stored = encode_image(load(data, 30)[0], format)
    assert b"SECRET" not in stored
    for mark in (b"Exif", b"ICC", b"iCCP", b"eXIf", b"EXIF", b"tEXt", b"XMP", b"Photoshop"):
        assert mark not in stored
    with Image.open(io.BytesIO(stored)) as opened:
        assert not opened.getexif()
        assert "icc_profile" not in opened.info


def test_a_profile_other_than_srgb_is_converted_not_just_dropped() -> None:
    # Swapping the red and green colorants of sRGB's profile makes what the file calls red, green.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.find(b"rXYZ", 128), profile.find(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    array, _ = load(file(Image.new("RGB", (8, 8), (255, 0, 0)), "PNG", icc_profile=bytes(profile)), 8)
    assert array[4, 4, 1] > 200 > 60 > array[4, 4, 0]


def test_the_same_file_gives_the_same_bytes_every_time() -> None:
    data = file(photo(500, 300), "JPEG")
    for format in images.FORMATS:
        assert len({encode_image(load(data, 100)[0], format) for _ in range(5)}) == 1


def test_png_stores_pixels_exactly_and_decode_gives_them_back() -> None:
    array = np.asarray(photo())
    assert (decode(encode_image(array, "png")) == array).all()
    for format in ("jpeg", "webp"):
        assert np.abs(decode(encode_image(array, format)).astype(float) - array).mean() < 4
    with pytest.raises(ImageError, match="stored image"):
        decode(b"nonsense")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_file_cut_short_is_called_truncated(format: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8))
    data = file(noise, format)
    with pytest.raises(ImageError) as raised:
        load(data[: int(len(data) * part)], 40)
    assert raised.value.status == "truncated"


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"<html><body>404</body></html>", b"<svg", b"not an image" * 100]
)
def test_what_is_no_image_is_said_so(data: bytes) -> None:
    with pytest.raises(ImageError) as raised:
        load(data, 40)
    assert raised.value.status == "not_an_image"
    assert "\n" not in str(raised.value)


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    huge = bytearray(file(Image.new("L", (8, 8)), "PNG"))
    huge[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4)
    with pytest.raises(ImageError, match="3,600,000,000 pixels, more than 200,000,000") as raised:
        load(bytes(huge), 64)
    assert raised.value.status == "too_many_pixels"
    with pytest.raises(ImageError, match="more than 100"):
        load(file(photo(), "JPEG"), 64, max_pixels=100)
    wide = b'<svg xmlns="http://www.w3.org/2000/svg" width="1000000" height="1"/>'
    with pytest.raises(ImageError, match="more than"):
        load(wide, 512, "shortest")


def test_bands_and_bytes_are_limited_as_pixels_are() -> None:
    pixels = np.full((100, 100, 3), 90, np.uint16)
    files = {
        kind: pyvips.Image.new_from_array(pixels.astype(kind)).tiffsave_buffer()
        for kind in ("u1", "u2", "f4")
    }
    for kind in ("u1", "u2"):
        assert load(files[kind], 10, max_pixels=10_000)[0].shape == (10, 10, 3)
    with pytest.raises(
        ImageError, match=r"120,000 bytes when decoded \(3 bands of float\), more than 60,000"
    ) as raised:
        load(files["f4"], 10, max_pixels=10_000)
    assert raised.value.status == "too_many_pixels"
    cmyk = np.zeros((10, 10, 5), np.uint8)
    assert load(pyvips.Image.new_from_array(cmyk, interpretation="cmyk").tiffsave_buffer(), 10)[0].shape == (
        10,
        10,
        3,
    )
    for bands in (5, 6, 240):
        many = pyvips.Image.new_from_array(np.zeros((10, 10, bands), np.uint8)).tiffsave_buffer(
            compression="deflate"
        )
        with pytest.raises(
            ImageError, match=f"tiff with {bands} bands of uchar samples; save it with at most 4 bands"
        ) as raised:
            load(many, 10)
        assert raised.value.status == "unsupported_format"


@pytest.mark.parametrize(("format", "longest"), images.LONGEST_SIDE.items())
def test_a_side_too_long_for_the_format_is_said_with_what_to_do(format: images.Format, longest: int) -> None:
    strip = np.zeros((1, longest + 1, 3), np.uint8)
    with pytest.raises(
        ImageError, match=f"{longest + 1:,} x 1 pixels, but {format} allows .* store it as PNG"
    ) as raised:
        encode_image(strip, format)
    assert raised.value.status == "too_many_pixels"
    assert decode(encode_image(strip[:, 1:], format)).shape == (1, longest, 3)
    assert decode(encode_image(strip, "png")).shape == strip.shape


@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]), st.data())
def test_no_damage_to_a_file_does_more_than_cost_that_file(format: str, data: st.DataObject) -> None:
    damaged = bytearray(file(photo(24, 16), format))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        array, _ = load(bytes(damaged), 12, max_pixels=1_000_000)
    except ImageError as error:
        assert error.status in ("not_an_image", "unsupported_format", "truncated", "too_many_pixels")
    else:
        assert array.dtype == np.uint8
        assert array.shape[2] == 3


def test_phash_is_imagehash_s_and_survives_resizing() -> None:
    array = np.asarray(photo(300, 200))
    assert f"{phash(array):016x}" == str(imagehash.phash(Image.fromarray(array)))
    blobs = np.random.default_rng(2).integers(0, 256, (6, 9, 3), np.uint8)
    scene = Image.fromarray(blobs).resize((300, 200), Image.Resampling.BICUBIC)
    smaller = phash(load(file(scene, "JPEG", quality=60), 150)[0])
    assert (phash(np.asarray(scene)) ^ smaller).bit_count() <= 4
    assert (phash(np.asarray(scene)[:, ::-1]) ^ smaller).bit_count() > 16


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
@settings(max_examples=40)
def test_square_is_square_for_any_shape(width: int, height: int, size: int) -> None:
    assert square(np.zeros((height, width, 3), np.uint8), size).shape == (size, size, 3)


def test_square_takes_the_middle() -> None:
    array = np.zeros((10, 30, 3), np.uint8)
    array[:, 10:20] = 200
    assert (square(array, 10) == 200).all()
    assert np.abs(square(array, 5)[1:-1, 1:-1].astype(int) - 200).max() < 10
    assert square(array[:, 10:20], 10).tolist() == array[:, 10:20].tolist()


@settings(max_examples=100)
@example(402, 402, 100, 1, 0)  # 100.5 pixels to 100
@example(315, 800, 100, 1, 0)  # decoded whole: 39.4 pixels to 39
@given(
    st.integers(SCALED_SIDE // 2, 1300),
    st.integers(SCALED_SIDE // 2, 1300),
    st.integers(100, 600),
    st.integers(1, 8),
    st.sampled_from([0, 1, 2]),
)
def test_jpegs_decoded_at_a_scale_lie_where_a_full_decode_lies(
    width: int, height: int, size: int, orientation: int, subsampling: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    scene = np.random.default_rng(width).integers(60, 196, (5, 7, 3), np.uint8)
    smooth = Image.fromarray(scene).resize((width, height), Image.Resampling.BICUBIC)
    data = file(smooth, "JPEG", quality=95, subsampling=subsampling, exif=exif)
    array, header = load(data, size)
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    assert (header.width, header.height) == upright.size
    assert (array.shape[1], array.shape[0]) == target_size(*upright.size, size, "longest")
    wanted = np.asarray(upright.resize((array.shape[1], array.shape[0]), Image.Resampling.LANCZOS), float)
    assert np.abs(array - wanted).mean() < 1


def test_a_jpeg_with_a_profile_or_in_cmyk_is_left_to_libvips_colour_management() -> None:
    cmyk = Image.new("CMYK", (400, 300), (0, 255, 255, 0))
    array, _ = load(file(cmyk, "JPEG", quality=95), 100)
    assert array.shape == (75, 100, 3)
    assert array[40, 50, 0] > 180 > 90 > array[40, 50, 1]
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.find(b"rXYZ", 128), profile.find(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    swapped, _ = load(
        file(Image.new("RGB", (400, 300), (255, 0, 0)), "JPEG", icc_profile=bytes(profile)), 100
    )
    assert swapped[40, 50, 1] > 200 > 60 > swapped[40, 50, 0]


def test_a_progressive_jpeg_of_endless_scans_is_not_decoded_scan_by_scan() -> None:
    data = file(photo(400, 300), "JPEG", progressive=True)
    assert load(data, 100)[0].shape == (75, 100, 3)
    last = data.rfind(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 3000 + data[-2:]
    with pytest.raises(ImageError):
        load(bomb, 100)
