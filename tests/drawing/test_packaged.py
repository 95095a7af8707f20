"""`xs`, the trained model that comes with the package, draws what it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commoncanvas.core.errors import ModelError
from commoncanvas.drawing.generate import generate
from commoncanvas.models import pretrained
from commoncanvas.models.pretrained import model_folder
from commoncanvas.options.generate import DrawOptions
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.release.check_release import check_release

XS = Path(model_folder("xs"))
MOST_BYTES = 16_000_000
COLOURS = {"red": (210, 47, 39), "blue": (30, 80, 160), "green": (177, 204, 51), "yellow": (252, 234, 43)}
"""OpenMoji's own."""


def coloured(image: Image.Image) -> np.ndarray:
    """The mean colour [3] of the pixels that are neither white, grey nor black."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64).reshape(-1, 3)
    vivid = np.ptp(pixels, axis=1) > 60
    return pixels[vivid].mean(axis=0)


def test_its_weights_are_small_and_its_folder_passes_a_release_check() -> None:
    assert sum(path.stat().st_size for path in XS.rglob("*.safetensors")) <= MOST_BYTES
    assert not check_release("xs").problems
    assert read_provenance(str(XS))["result_license"] == "CC-BY-SA-4.0"


@pytest.mark.slow
def test_a_colour_that_is_asked_for_is_the_colour_that_is_drawn() -> None:
    images = generate("xs", [f"{name} heart" for name in COLOURS], DrawOptions(count=4))
    for place, image in enumerate(images):
        wanted = list(COLOURS)[place // 4]
        distances = {name: float(np.abs(coloured(image) - colour).sum()) for name, colour in COLOURS.items()}
        assert min(distances, key=distances.__getitem__) == wanted, (wanted, place % 4, distances)


def test_a_folder_named_xs_goes_before_the_packaged_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(model_folder("xs")) == XS and model_folder("other/model") == "other/model"
    (tmp_path / "xs").mkdir()
    assert model_folder("xs") == "xs"


def test_an_installation_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(ModelError, match="lacks the packaged model xs; `make xs` trains it"):
        generate("xs", "a red heart")
