"""Other threads of this process: what is done every so often, and what is made ahead of its reader."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

T = TypeVar("T")


@contextmanager
def every(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call `call` that often, on another thread, for as long as the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def ahead(items: Iterable[T], depth: int = 2) -> Generator[T]:
    """The same items, made on another thread: at most `depth` of them, the one that is in use among them.

    An exception comes where it would have come.
    """
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1, "ahead")
    try:
        made: deque[Future[object]] = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := made.popleft().result()) is not end:
            yield cast(T, item)
            made.append(pool.submit(next, source, end))
    finally:
        pool.shutdown(cancel_futures=True)
