"""A real Ray cluster of two nodes on this machine, for all tests of the engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray_cluster import NODE, REPOSITORY, of_cluster, wait_until

# Ray's word for: on 127.0.0.1; read when it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # Not under pytest's own folder: a Unix socket's path is 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    escapes = folder / "escapes"
    python_path = [str(REPOSITORY / "tests" / "offline"), str(REPOSITORY / "src"), str(REPOSITORY)]
    settings = {
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join(python_path),
        "ESCAPES": str(escapes),
    }
    before = {name: os.environ.get(name) for name in (*settings, "RAY_ADDRESS")}
    os.environ.update(settings)
    made = Cluster(initialize_head=True, connect=False, head_node_args=NODE)
    try:
        made.add_node(**NODE)
        os.environ["RAY_ADDRESS"] = made.address
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    wait_until(lambda: not of_cluster(folder), "Ray's processes have ended", 60)
    # Ray's own head tells its makers that it tells them nothing, and asks which cloud it is in: that is stopped too.
    lines = escapes.read_text().splitlines() if escapes.exists() else []
    left = [line for line in lines if "/ray/dashboard/" not in line]
    shutil.rmtree(folder, ignore_errors=True)
    assert left == [], "traffic would have left this machine"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder
