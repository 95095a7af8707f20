"""A catalog of images of several aspect ratios."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch
from commoncanvas.training.trainer import train
from tests.catalog.test_s3 import s3
from tests.training.tiny import SIDES, recipe

__all__ = ["oblongs", "s3"]


@pytest.fixture(scope="session")
def drawn_oblongs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the catalog of oblongs and an autoencoder trained on it; to be read only."""
    folder = tmp_path_factory.mktemp("oblongs")
    draw = np.random.default_rng(0)
    sides = draw.permutation([one for one, count in SIDES.items() for _ in range(count)])
    rows = [
        {
            "image_id": f"oblong:{number:02}",
            "source": "oblong",
            "label": f"picture {number}",
            "creator": "a painter",
            "license": "CC-BY-4.0",
            "image": encode_image(draw.integers(0, 256, (height, width, 3), np.uint8), "png"),
            "width": int(width),
            "height": int(height),
            "fetch_status": "ok",
        }
        for number, (height, width) in enumerate(sides)
    ]
    catalog = Catalog.create(folder / "catalog.lance")
    catalog.add([to_batch(rows)])
    train(recipe("xs-autoencoder", folder, "--train.steps", "3"))
    return folder


@pytest.fixture
def oblongs(drawn_oblongs: Path, tmp_path: Path) -> Catalog:
    """The catalog `tmp_path`/catalog.lance, beside the autoencoder."""
    shutil.copytree(drawn_oblongs, tmp_path, dirs_exist_ok=True)
    return Catalog.open(tmp_path / "catalog.lance")
