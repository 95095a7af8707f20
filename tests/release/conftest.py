from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from commoncanvas.training.trainer import train
from tests.training.tiny import recipe


@pytest.fixture(scope="session")
def model(drawn_and_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, to be read only."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(drawn_and_encoded, folder, dirs_exist_ok=True)
    return train(recipe("xs", folder))
