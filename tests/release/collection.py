"""A small catalog with a saved filter, for tests of data releases."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from commoncanvas.catalog import Catalog, save_filter
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch

ROWS = 12
LICENSES = ("CC-BY-2.0", "CC0-1.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-3.0-DE")


def row(number: int) -> dict[str, Any]:
    pixels = np.random.default_rng(number).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    return {
        "image_id": f"photos:{number:02}",
        "source": "photos",
        "title": f"Photo | {number} “ä”",
        "creator": f"Person <{number % 4}>",
        "creator_url": f"https://photos.example/people/{number % 4}",
        "page_url": f"https://photos.example/{number}",
        "image_url": f"https://live.example/{number}.png",
        "image_url_2": f"/home/somebody/{number}.png",
        "license": LICENSES[number % len(LICENSES)],
        "label": f"text {number}" if number % 3 == 0 else None,
        "image": encode_image(pixels, "png"),
        "width": 24,
        "height": 16,
        "original_width": 48,
        "original_height": 32,
        "sha256": hashlib.sha256(bytes([number])).hexdigest() if number % 5 else None,
        "phash": 2**63 + number,
        "fetch_status": "ok",
    }


def make_catalog(place: Path) -> Catalog:
    """ROWS rows of the tag c-v1, one that may not be shared, one that was added later."""
    catalog = Catalog.create(place)
    closed = {**row(90), "license": "all-rights-reserved"}
    catalog.add([to_batch([*map(row, range(ROWS)), closed])])
    save_filter(catalog, "c-v1", "fetch_status = 'ok'")
    catalog.add([to_batch([row(80)])])
    return catalog
