"""The training images that are nearest to drawn images: what the server asks of whoever can find them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from commoncanvas.serving.errors import ApiError

NONE = (
    "sources: this server does not know the images that the model learned from; start it with their catalog: "
    "commoncanvas serve MODEL --catalog CATALOG"
)


class Sources(Protocol):
    """Finds training images in a thread of its own. Each method is called in the server's loop."""

    async def ready(self) -> None:
        """Be loaded. Raises ApiError: 400 with what to do if there are no sources, 503 while they are loaded."""

    async def of(self, images: Sequence[bytes], count: int) -> list[list[dict[str, Any]]]:
        """For each PNG file the `count` nearest training images, as the answer shows them. Raises ApiError."""


def needed(sources: Sources | None) -> Sources:
    """Raises ApiError if there are none."""
    if sources is None:
        raise ApiError(400, NONE, param="sources")
    return sources
