"""Digests of a model's weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

WEIGHTS = ".safetensors"


def digests(folder: Path) -> dict[str, str]:
    """sha256 of each file of weights, by its path in `folder`."""
    paths = sorted(folder.rglob(f"*{WEIGHTS}"))
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}


def file_sha256(path: Path) -> str:
    """sha256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
