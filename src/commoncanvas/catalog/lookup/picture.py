"""A picture to look up, from anywhere: its file's digest, and its pixels, which are decoded once, when needed."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import CatalogError, ImageError
from commoncanvas.images.tasks import look


class Picture:
    """The bytes of an image file. `name`: what errors and reports call it. Not for several threads."""

    def __init__(self, data: bytes, name: str = "the picture") -> None:
        self.data = data
        self.name = name

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3], at most 512 pixels a side, decoded by a process of its own. Raises CatalogError."""
        try:
            return look(self.data)
        except ImageError as error:
            raise CatalogError(f"{self.name} can't be looked up: {error}") from error
