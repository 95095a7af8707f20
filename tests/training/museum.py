"""A second catalog beside the shapes of conftest: other images by other people, and two that the shapes have too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch
from tests.conftest import SHAPES, drawing

SHARED = ("shapes:03", "shapes:07")


def scan(image_id: str, colour: str, shape: str, **fields: Any) -> dict[str, Any]:
    name = f"{colour} {shape}"
    return {
        "image_id": image_id,
        "source": "museum",
        "title": name,
        "label": name,
        "creator": "a curator",
        "license": "CC-BY-2.0",
        "image": encode_image(drawing(colour, shape), "png"),
        "width": 32,
        "height": 32,
        "fetch_status": "ok",
    } | fields


def add_museum(uri: Path) -> Catalog:
    """8 images of its own, 2 of the shapes'."""
    scans = [
        scan(f"museum:{at}{shape}", colour, shape)
        for at, colour in enumerate(("pink", "gold"))
        for shape in SHAPES
    ]
    catalog = Catalog.create(uri)
    catalog.add([to_batch([*scans, *(scan(image_id, "gray", "dot") for image_id in SHARED)])])
    return catalog


@pytest.fixture
def museum(tmp_path: Path) -> Catalog:
    return add_museum(tmp_path / "museum.lance")


def both(
    folder: Path, cc: dict[str, Any] | None = None, museum: dict[str, Any] | None = None
) -> tuple[str, ...]:
    """Words of a recipe that mixes the shapes and the museum, three to one unless they say otherwise."""
    catalogs = {
        "cc": {"catalog": str(folder / "catalog.lance"), "share": 3} | (cc or {}),
        "museum": {"catalog": str(folder / "museum.lance"), "share": 1} | (museum or {}),
    }
    return "--data.catalog", "null", "--data.catalogs", json.dumps(catalogs)
