"""A real Ray cluster on this machine for tests: its settings, and its processes seen from outside."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

# Ray's word for: on 127.0.0.1; read when it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

REPOSITORY = Path(__file__).parents[1]
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextmanager
def real_cluster(*nodes: Mapping[str, Any]) -> Iterator[Any]:
    """A cluster of such nodes, which processes find by RAY_ADDRESS. It sends nothing beyond this machine."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # Not under pytest's own folder: a Unix socket's path is 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    escapes = folder / "escapes"
    python_path = [str(REPOSITORY / "tests" / "offline"), str(REPOSITORY / "src"), str(REPOSITORY)]
    settings = {
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # by default, workers wait for whatever else runs
        "PYTHONPATH": os.pathsep.join(python_path),
        "ESCAPES": str(escapes),
    }
    before = {name: os.environ.get(name) for name in (*settings, "RAY_ADDRESS")}
    os.environ.update(settings)
    made = Cluster(initialize_head=True, connect=False, head_node_args=dict(nodes[0]))
    try:
        for node in nodes[1:]:
            made.add_node(**node)
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


def of_cluster(folder: Path, name: str = "") -> list[psutil.Process]:
    """The processes of the cluster with this temporary folder whose title has `name` in it."""
    found = []
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline())
            ours = process.environ().get("RAY_TMPDIR") == str(folder) and process.pid != os.getpid()
            if ours and name in title and "pytest" not in title and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


def workers() -> list[psutil.Process]:
    return of_cluster(Path(os.environ["RAY_TMPDIR"]), "ray::CommonCanvas")


def wait_until(condition: Any, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.1)
