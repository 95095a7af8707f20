"""The Ray cluster of the tests, seen from outside: its settings and its processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).parents[1]
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


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
