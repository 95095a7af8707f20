"""Images that come along: what stays byte for byte, what is made anew, in order and few at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from commoncanvas.catalog.sources import Report
from commoncanvas.catalog.sources.embedded import Pending, Storing, with_images
from commoncanvas.images.image import ImageError, decode
from tests.catalog.imports import picture, picture_with_place


def encoded(image: Image.Image, format: str, **save: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_what_is_as_the_catalog_stores_it_stays_byte_for_byte(format: str) -> None:
    data = picture(format=format)
    assert Storing(size=24).columns(data)["image"] == data
    assert Storing(size=23).columns(data)["image"] != data


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
        stored = Storing().columns(data)["image"]
        assert stored != data, name
        opened = Image.open(io.BytesIO(stored))
        assert opened.mode == "RGB", name
        assert not opened.getexif(), name
        assert not {"icc_profile", "comment", "where"} & set(opened.info), name
        assert b"moving" not in stored, name
    # Transparent is white, as it is for a fetched image.
    assert np.all(decode(Storing().columns(cases["alpha"])["image"]) > 250)


def test_drawings_and_bombs_are_refused() -> None:
    with pytest.raises(ImageError, match="svg is"):
        Storing().columns(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    with pytest.raises(ImageError, match="pixels"):
        Storing(max_pixels=100).columns(picture())


def test_rows_keep_their_order_and_only_a_few_images_wait() -> None:
    taken = []

    def pending() -> Iterator[Pending]:
        for number in range(100):
            taken.append(number)
            data = None if number % 7 == 0 else (b"no image" if number % 5 == 0 else picture(seed=number))
            yield (
                f"row {number}",
                {"image_id": str(number), "original_width": None, "original_height": 9},
                data,
            )

    report = Report()
    rows = with_images(pending(), Storing(), report)
    limit = 2 * (os.cpu_count() or 1)
    for number, row in enumerate(rows):
        assert row["image_id"] == str(number)
        assert len(taken) <= number + limit + 1
        assert row["original_height"] == 9
        if row.get("fetch_status") == "ok":
            assert row["original_width"] == 24
    bad = [number for number in range(100) if number % 5 == 0 and number % 7]
    assert report.remarks == {"kept without image": len(bad)}
    assert report.complaints[0].startswith(f"row {bad[0]}: kept without image (not_an_image")
