"""Helpers with threads: call a function repeatedly, and compute items ahead of their use."""

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
    """Call `call` every `seconds` seconds on another thread, while the block runs."""
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
    """The same items, computed on another thread. At most `depth` exist at a time, with the one in use.

    An exception is raised at the same place in the sequence.
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
