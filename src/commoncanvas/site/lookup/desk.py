"""One look-up at a time, in a thread, and a short queue: each may hold a large picture in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException

from commoncanvas.site.lookup.answer import Begin, PictureError
from commoncanvas.table.table import Catalog

MOST = 8
"""Look-ups that may wait."""


class Desk:
    """Answers look-ups, and knows which catalog it reads for the first time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._read: dict[str, int] = {}
        """Catalogs -> the version that was read last."""
        self._images = 0

    @property
    def reading(self) -> int:
        """Images of the catalog whose hashes are being read for the first time; 0 if none is."""
        return self._images

    async def answer(self, work: Callable[[Begin], dict[str, Any]]) -> dict[str, Any]:
        """What `work` finds. Raises HTTPException: 422 with the sentence of a PictureError, 429 if many wait."""
        if self._waiting >= MOST:
            raise HTTPException(
                429, "many look-ups wait; try again in some seconds", headers={"retry-after": "5"}
            )
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, self._begin)
        except PictureError as error:
            raise HTTPException(422, str(error)) from error
        finally:
            self._waiting -= 1
            self._images = 0

    def _begin(self, catalog: Catalog) -> None:
        known = self._read.get(catalog.uri) == catalog.version
        self._images = 0 if known else len(catalog)
        self._read[catalog.uri] = catalog.version
