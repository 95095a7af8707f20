"""A real Ray cluster of two nodes on this machine, for all tests of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray_cluster import NODE, real_cluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    with real_cluster(NODE, NODE) as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder
