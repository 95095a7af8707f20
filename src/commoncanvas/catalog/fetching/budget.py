"""One memory budget for all files that are fetched but not yet decoded."""

from __future__ import annotations

import asyncio
from collections import deque


class Budget:
    """`max_bytes` for all files, plus at most one image. Used from one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._over = asyncio.Lock()

    def hold(self) -> Hold:
        return Hold(self)

    async def _take(self, count: int) -> None:
        """Wait until `count` bytes are free, or nothing is taken: an image above the whole budget goes alone."""
        if not self._waiting and self._fits(count):
            self.taken += count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(count)
            raise

    def _give(self, count: int) -> None:
        self.taken -= count
        while self._waiting and (self._waiting[0][1].cancelled() or self._fits(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self.taken += wanted
                turn.set_result(None)

    def _fits(self, count: int) -> bool:
        return not self.taken or self.taken + count <= self.max_bytes


class Hold:
    """One image's share of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.bytes = 0
        self._over = False

    def fits(self, size: int) -> bool:
        """Whether `grow(size)` would not have to wait."""
        return self._over or size <= self.bytes or self._budget._fits(size - self.bytes)

    async def grow(self, size: int) -> None:
        """Reserve `size` bytes in total; wait for other images if necessary.

        Images that already hold bytes could wait for each other forever, so one at a time may exceed the budget.
        """
        more = size - self.bytes
        if more <= 0:
            return
        if not self.bytes:
            await self._budget._take(more)
        else:
            if not self._over and not self._budget._fits(more):
                await self._budget._over.acquire()
                self._over = True
            self._budget.taken += more
        self.bytes = size

    def release(self) -> None:
        if self._over:
            self._over = False
            self._budget._over.release()
        given, self.bytes = self.bytes, 0
        if given:
            self._budget._give(given)
