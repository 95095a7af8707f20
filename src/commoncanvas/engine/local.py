"""The engine of this machine: threads of this process, or fresh ones."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from typing import Any, TypeVar

T = TypeVar("T")


class LocalEngine:
    """Threads of this process, or with `processes` fresh (spawned) ones, each of which gets one copy of the
    function.
    """

    def __init__(self, workers: int = 1, processes: bool = False) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self.processes = processes

    @property
    def shares_memory(self) -> bool:
        return not self.processes

    def map(self, function: Callable[[int], T], items: Sequence[int]) -> Generator[T]:
        if self.processes:
            # Spawned, not forked: neither Lance's nor torch's threads survive a fork.
            pool: Executor = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_install,
                initargs=(pickle.dumps(function),),
            )
            yield from _bounded(pool, _installed, items, self.workers)
        elif self.workers == 1:
            # Inline: Ctrl-C and tracebacks go straight through.
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
            refill()  # before yielding: no worker is idle while the caller is busy with the results
            for future in ready:
                if not future.exception():
                    yield future.result()
        if failures:
            raise failures[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_function: Callable[[int], Any]


def _install(pickled: bytes) -> None:
    global _function
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function = pickle.loads(pickled)


def _end_with_parent() -> None:
    """A pool's workers outlive a parent that was killed, and would keep their models in memory for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _installed(item: int) -> Any:
    return _function(item)
