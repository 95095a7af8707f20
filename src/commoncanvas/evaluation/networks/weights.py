"""Read a file of weights, and its digest."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line


def read_weights(path: Path, what: str) -> tuple[dict[str, Any], str]:
    """The state dict in a .pth file, and the file's sha256. No code in the file runs. Raises ModelError."""
    try:
        data = path.read_bytes()
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for broken files
        raise ModelError(
            f"weights of {what}: {path} can't be read as a file of weights only: "
            f"{one_line(error) or type(error).__name__}"
        ) from error
    if not isinstance(state, dict):
        raise ModelError(f"weights of {what}: {path} has a {type(state).__name__}, not a state dict")
    return state, hashlib.sha256(data).hexdigest()
