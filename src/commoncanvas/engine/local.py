"""The engine of this machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import TypeVar

T = TypeVar("T")


class LocalEngine:
    """Threads of this process."""

    shares_memory = True

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.workers = workers

    def map(self, function: Callable[[int], T], items: Sequence[int]) -> Generator[T]:
        if self.workers == 1:
            # In this thread, so that Ctrl-C and tracebacks work as usual.
            yield from map(function, items)
        else:
            yield from _bounded(ThreadPoolExecutor(self.workers), function, items, self.workers)

    def close(self) -> None:
        """Its workers end with each map."""


def _bounded(pool: Executor, function: Callable[[int], T], items: Sequence[int], limit: int) -> Generator[T]:
    waiting = iter(items)
    running: set[Future[T]] = set()
    failures: list[BaseException] = []

    def refill() -> None:
        while not failures and len(running) < limit and (item := next(waiting, None)) is not None:
            running.add(pool.submit(function, item))

    try:
        refill()
        while running:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            failures += [failure for future in ready if (failure := future.exception())]
            refill()  # before the yield, so that workers are busy while the caller handles the results
            for future in ready:
                if not future.exception():
                    yield future.result()
        if failures:
            raise failures[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
