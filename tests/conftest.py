"""A small real catalog: drawn shapes in plain colours, half of them with human labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# One thread a process: the tests run in parallel processes, and tiny networks gain nothing from more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

COLOURS = ["red", "green", "blue", "orange", "purple", "black"]
SHAPES = ["square", "circle", "bar", "dot"]


def drawing(colour: str, shape: str, size: int = 32) -> np.ndarray:
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    box = {
        "square": (6, 6, 26, 26),
        "circle": (4, 4, 28, 28),
        "bar": (2, 12, 30, 20),
        "dot": (12, 12, 20, 20),
    }[shape]
    (draw.ellipse if shape in ("circle", "dot") else draw.rectangle)(box, fill=colour)
    return np.asarray(image)


def add_shapes(uri: str | Path) -> Catalog:
    rows = []
    for number, (colour, shape) in enumerate((colour, shape) for colour in COLOURS for shape in SHAPES):
        name = f"{colour} {shape}"
        rows.append(
            {
                "image_id": f"shapes:{number:02}",
                "source": "shapes",
                "title": name,
                "label": name if number % 2 else None,
                "creator": f"painter {number % 3}",
                "license": ("CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0")[number % 3],
                "image": encode_image(drawing(colour, shape), "png"),
                "width": 32,
                "height": 32,
                "fetch_status": "ok",
            }
        )
    catalog = Catalog.open_or_create(uri)
    catalog.add([to_batch(rows)])
    return catalog


@pytest.fixture
def shapes(tmp_path: Path) -> Catalog:
    return add_shapes(tmp_path / "catalog.lance")


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """torch's number of threads decides the last bits of every result that a later test compares."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if before is not None:
        assert sys.modules["torch"].get_num_threads() == before
