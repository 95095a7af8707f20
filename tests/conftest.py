"""A small real catalog: drawn shapes in plain colours, half of them with human labels.

What takes time to make is made once a process; each test gets a copy in its `tmp_path`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# One thread a process: the tests run in parallel processes, and tiny networks gain nothing from more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# How long an example takes says more about what else runs on the machine than about the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

TOGETHER: tuple[str | tuple[str, ...], ...] = (
    "tests/engine/test_ray",
    "tests/studies/test_scarcity",
    ("tests/drawing/", "tests/release/"),
    "tests/serving/",
    "tests/training/test_alignment",
    "tests/catalog/test_reuploads",
)
"""Files (beginnings of their paths) whose tests share what takes seconds to make: one process runs them."""
COLOURS = ["red", "green", "blue", "orange", "purple", "black"]
SHAPES = ["square", "circle", "bar", "dot"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests go to processes one by one, but those of TOGETHER first and together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return next((str(start) for start in TOGETHER if nodeid.startswith(start)), nodeid)

    return Scheduling(config, log)


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


@pytest.fixture(scope="session", autouse=True)
def settings_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder of settings, with the caches, so that no test writes into the real ones."""
    folder = tmp_path_factory.mktemp("settings")
    os.environ["XDG_CONFIG_HOME"] = str(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the catalog of shapes; to be read only, as the next two."""
    folder = tmp_path_factory.mktemp("drawn")
    add_shapes(folder / "catalog.lance")
    return folder


@pytest.fixture(scope="session")
def drawn_and_trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the tiny autoencoder that was trained on it."""
    from commoncanvas.training.trainer import train
    from tests.training.tiny import recipe

    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(drawn, folder, dirs_exist_ok=True)
    train(recipe("xs-autoencoder", folder))
    return folder


@pytest.fixture(scope="session")
def drawn_and_encoded(drawn_and_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with latents and text states."""
    from commoncanvas.encoding.command import encode
    from tests.training.tiny import recipe

    folder = tmp_path_factory.mktemp("encoded")
    shutil.copytree(drawn_and_trained, folder, dirs_exist_ok=True)
    encode(recipe("xs", folder))
    return folder


@pytest.fixture(scope="session")
def model(drawn_and_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny diffusion model of a few steps; to be read only."""
    from commoncanvas.training.trainer import train
    from tests.training.tiny import recipe

    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(drawn_and_encoded, folder, dirs_exist_ok=True)
    return train(recipe("xs", folder))


@pytest.fixture(scope="session")
def drawn_and_captioned(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes with image features, and the tiny captioner of a few steps; to be read only."""
    from commoncanvas.encoding.command import encode
    from commoncanvas.training.trainer import train
    from tests.training.tiny import recipe

    folder = tmp_path_factory.mktemp("captioned")
    shutil.copytree(drawn, folder, dirs_exist_ok=True)
    encode(recipe("xs-captioner", folder))
    train(recipe("xs-captioner", folder))
    return folder


@pytest.fixture
def shapes(drawn: Path, tmp_path: Path) -> Catalog:
    """The catalog of shapes, `tmp_path`/catalog.lance."""
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    return Catalog.open(tmp_path / "catalog.lance")


@pytest.fixture
def vae(shapes: Catalog, drawn_and_trained: Path, tmp_path: Path) -> str:
    """Beside the shapes, the folder of the tiny autoencoder. Its record names the catalog that they are a copy of."""
    shutil.copytree(drawn_and_trained, tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "xs-autoencoder")


@pytest.fixture
def captioner(shapes: Catalog, drawn_and_captioned: Path, tmp_path: Path) -> Path:
    """Beside the shapes and their image features, the folder of the tiny captioner."""
    shutil.copytree(drawn_and_captioned, tmp_path, dirs_exist_ok=True)
    return tmp_path / "xs-captioner"


@pytest.fixture
def encoded(shapes: Catalog, drawn_and_encoded: Path, tmp_path: Path) -> Path:
    """`tmp_path`, with the shapes, the tiny autoencoder, and the latents and text states of the tiny XS."""
    shutil.copytree(drawn_and_encoded, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """torch's number of threads decides the last bits of every result that a later test compares."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if before is not None:
        assert sys.modules["torch"].get_num_threads() == before
