"""One thread that writes votes. Those that wait are committed together, and answered when they are on the disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from commoncanvas.arena.ballots import Ballots, RefusedError, UnknownRaterError

MOST_TOGETHER = 256
"""Calls of one commit."""
T = TypeVar("T")


class StoppedError(Exception):
    """The server is ending."""


@dataclass
class _Call:
    run: Callable[[Ballots], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Writer:
    """Runs functions of `Ballots` in its own thread. Each is all or nothing."""

    def __init__(self, open_: Callable[[], Ballots]) -> None:
        """`open_` is called in this thread, so that its errors are the caller's."""
        self.ballots = open_()
        self.queue: SimpleQueue[_Call | None] = SimpleQueue()
        self.stopped = self.stale = False
        self.thread = threading.Thread(target=self._work, name="votes", daemon=True)
        self.thread.start()

    async def run(self, call: Callable[[Ballots], T]) -> T:
        """The result of `call`, after what it wrote is on the disk; or its error."""
        if self.stopped:
            raise StoppedError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self.queue.put(_Call(call, loop, answer))
        return await answer

    def close(self) -> None:
        """Wait for the calls that were made, and close the file."""
        self.stopped = True
        self.queue.put(None)
        self.thread.join()
        self.ballots.connection.close()

    def _work(self) -> None:
        going = True
        while going:
            calls = [self.queue.get()]
            while len(calls) < MOST_TOGETHER:
                try:
                    calls.append(self.queue.get_nowait())
                except Empty:
                    break
            going = None not in calls
            waiting = [call for call in calls if call is not None]
            if waiting:
                self._commit(waiting)
                waiting[0].loop.call_soon_threadsafe(_answer, waiting)

    def _commit(self, calls: list[_Call]) -> None:
        connection = self.ballots.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            if self.stale:
                self.ballots.load()
                self.stale = False
            self.ballots.refresh()
            for call in calls:
                connection.execute("SAVEPOINT one")
                try:
                    call.result = call.run(self.ballots)
                except (UnknownRaterError, RefusedError) as error:
                    call.error = error
                    connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
            connection.execute("COMMIT")
        except Exception as error:  # such as a full disk: nothing of these calls is kept, and all are told
            for call in calls:
                call.error = error
            self.stale = True
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _answer(calls: list[_Call]) -> None:
    for call in calls:
        if call.answer.cancelled():
            continue
        if call.error is not None:
            call.answer.set_exception(call.error)
        else:
            call.answer.set_result(call.result)
