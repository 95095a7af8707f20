"""A list may say how a file lies whose EXIF doesn't: it is stored upright."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.catalog import Catalog, FetchOptions, fetch
from commoncanvas.images.image import decode
from commoncanvas.table.schema import STATED, to_batch
from tests.catalog.fetching.server import RawServer, http

UPRIGHT = np.full((40, 60, 3), 255, np.uint8)
UPRIGHT[:20, :30] = (255, 0, 0)
UPRIGHT[20:, 30:] = (0, 0, 255)
STATED_EXIF = {0: 1, 90: 8, 180: 3, 270: 6}
"""Degrees counterclockwise that turn a file upright -> the EXIF orientation that says so."""


def lying(degrees: int, exif: int | None) -> bytes:
    """A file that `degrees` counterclockwise turn upright, with or without an orientation in it."""
    file = io.BytesIO()
    more = {}
    if exif is not None:
        more["exif"] = Image.Exif()
        more["exif"][0x0112] = exif
    Image.fromarray(np.rot90(UPRIGHT, -degrees // 90)).save(file, "PNG", **more)
    return file.getvalue()


def stored(
    path: Path, file: bytes, rotation: int | None, size: int = 60
) -> tuple[dict[str, int], NDArray[np.uint8]]:
    with RawServer(lambda _: http(file)) as server:
        catalog = Catalog.create(path / "c.lance")
        catalog.add_columns(STATED)
        row = {"image_id": "a", "source": "x", "image_url": f"{server.url}/a", "stated_rotation": rotation}
        catalog.add([to_batch([row], STATED)])
        assert fetch(catalog, FetchOptions(size=size, format="png", allow_private=True)).statuses == {"ok": 1}
    (row,) = catalog.table(["image", "width", "height", "original_width", "original_height"]).to_pylist()
    return row, decode(row.pop("image"))


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("exif", [False, True])
def test_a_file_that_lies_on_its_side_is_stored_upright_and_turned_once(
    tmp_path: Path, degrees: int, exif: bool
) -> None:
    row, pixels = stored(tmp_path, lying(degrees, STATED_EXIF[degrees] if exif else None), degrees)
    assert row == {"width": 60, "height": 40, "original_width": 60, "original_height": 40}
    assert np.array_equal(pixels, UPRIGHT)


def test_what_the_list_says_goes_before_exif_and_nothing_said_changes_nothing(tmp_path: Path) -> None:
    for name, exif, rotation in [("author", 6, 180), ("none", 6, None), ("zero", 6, 0), ("mirrored", 4, 180)]:
        (tmp_path / name).mkdir()
        degrees = rotation or 270
        file = lying(degrees, exif) if name != "mirrored" else lying(180, exif)
        _, pixels = stored(tmp_path / name, file, rotation)
        expected = np.flipud(np.rot90(UPRIGHT, 2)) if name == "mirrored" else UPRIGHT
        assert np.array_equal(pixels, expected), name


def test_a_turned_photo_comes_down_to_its_size(tmp_path: Path) -> None:
    row, pixels = stored(tmp_path, lying(90, None), 90, size=30)
    assert (row["width"], row["height"], row["original_width"]) == (30, 20, 60)
    assert pixels.shape == (20, 30, 3)
