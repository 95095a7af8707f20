"""The order of samples, a pure function of (seed, epoch), and a reader that takes each step's rows ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Batch = TypeVar("Batch")


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The permutation [rows] of epoch `epoch`; the same on every machine (counter-based Philox)."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    return generator.permutation(rows)


@lru_cache(maxsize=2)
def epoch_draws(seed: int, epoch: int, rows: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each row [rows], anew in each epoch: by it a row's text is drawn."""
    key = np.array([seed, epoch + 2**63], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(rows)


def step_draws(seed: int, step: int, batch_size: int, rows: int) -> NDArray[np.float64]:
    """The numbers [batch_size] of the rows that `step_rows` gives."""
    epochs = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64) // rows
    positions = step_rows(seed, step, batch_size, rows)
    draws = np.empty(batch_size)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        draws[here] = epoch_draws(seed, int(epoch), rows)[positions[here]]
    return draws


def step_rows(seed: int, step: int, batch_size: int, rows: int) -> NDArray[np.int64]:
    """Positions [batch_size] in 0..rows-1 that step `step` trains on, known without replaying the steps before it.

    Samples run through epoch after epoch without a gap, so a batch may span two epochs and none is ever cut short.
    """
    samples = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs, places = np.divmod(samples, rows)
    positions = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        positions[here] = epoch_order(seed, int(epoch), rows)[places[here]]
    return positions


def prefetch(
    make: Callable[[int], Batch], first: int, stop: int, depth: int = 5
) -> Generator[tuple[int, Batch]]:
    """(step, make(step)) for steps first..stop-1 in order, at most `depth` of them made, the one in use among them; the
    others side by side, on threads.
    """
    steps = iter(range(first, stop))
    pool = ThreadPoolExecutor(max(1, depth - 1), "read")
    try:
        made = deque((step, pool.submit(make, step)) for step in islice(steps, depth))
        while made:
            step, batch = made.popleft()
            yield step, batch.result()
            made.extend((step, pool.submit(make, step)) for step in islice(steps, 1))
    finally:
        pool.shutdown(cancel_futures=True)
