"""The order of samples: pure functions of (seed, step), so that a resumed run needs no replay."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache, partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from commoncanvas.config import ShuffleConfig

Weight = int | Fraction
STREAMS = 2**40
"""Distance between the keys of two streams, in epochs."""


class Samples(NamedTuple):
    """A batch: its rows, a random number in [0, 1) for each row and epoch, and the shuffle buffer of each row."""

    positions: NDArray[np.int64]
    draws: NDArray[np.float64]
    buffers: NDArray[np.int64]

    def part(self, share: slice) -> Samples:
        """The samples of one process."""
        return Samples(self.positions[share], self.draws[share], self.buffers[share])


class Order:
    """Rows 0..rows-1, epoch after epoch, each epoch shuffled differently. `stream`s of one seed are independent.

    A batch may span two epochs, so no batch is smaller than the others. With `shuffle`, rows are numbered in storage
    order; see `block_order`.
    """

    def __init__(self, seed: int, rows: int, shuffle: ShuffleConfig | None = None, stream: int = 0) -> None:
        self.rows = rows
        self.shuffle = shuffle
        self.buffer = min(shuffle.buffer, rows) if shuffle else rows
        self.buffers = -(-rows // self.buffer)
        """Buffers per epoch."""
        order = partial(block_order, shuffle=shuffle) if shuffle else epoch_order
        self._order = lru_cache(maxsize=2)(lambda epoch: order(seed, epoch + stream * STREAMS, rows))
        # The loader's threads share one order per epoch, because many rows take seconds and much memory.
        self._lock = Lock()
        self._draws = lru_cache(maxsize=2)(lambda epoch: epoch_draws(seed, epoch + stream * STREAMS, rows))

    def batch(self, turn: int, size: int) -> Samples:
        """The `turn`th batch of `size`."""
        return self.samples(turn * size, (turn + 1) * size)

    def samples(self, start: int, stop: int) -> Samples:
        """Samples start..stop-1, all of one batch.

        In a batch, the rows of a buffer are in storage order. The gradient does not depend on it, but each process,
        which takes a slice of each batch, then reads neighbouring rows.
        """
        epochs, places = np.divmod(np.arange(start, stop, dtype=np.int64), self.rows)
        buffers = epochs * self.buffers + places // self.buffer
        masks = [(int(epoch), epochs == epoch) for epoch in np.unique(epochs)]
        positions, draws = np.empty(stop - start, np.int64), np.empty(stop - start)
        with self._lock:
            for epoch, mask in masks:
                positions[mask] = self._order(epoch)[places[mask]]
            if self.shuffle:
                positions = positions[np.lexsort((positions, buffers))]
            for epoch, mask in masks:
                draws[mask] = self._draws(epoch)[positions[mask]]
        return Samples(positions, draws, buffers)

    def turns(self, buffer: int, size: int) -> range:
        """Numbers of the batches (of `size` samples) that have rows of a buffer."""
        epoch, number = divmod(buffer, self.buffers)
        start = epoch * self.rows + number * self.buffer
        stop = min(start + self.buffer, (epoch + 1) * self.rows)
        return range(start // size, (stop - 1) // size + 1)


def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The permutation [rows] of an epoch; the same on every machine (counter-based Philox)."""
    return _generator(seed, epoch).permutation(rows)


def block_order(seed: int, epoch: int, rows: int, shuffle: ShuffleConfig) -> NDArray[np.int64]:
    """A permutation [rows] that can be read in ranges. Blocks of neighbours are shuffled first; then the rows within
    each buffer are shuffled.
    """
    generator = _generator(seed, epoch)
    count = -(-rows // shuffle.block)
    places = generator.permutation(count)[:, None] * shuffle.block + np.arange(shuffle.block)
    order = places[places < rows]
    for start in range(0, rows, shuffle.buffer):
        generator.shuffle(order[start : start + shuffle.buffer])
    return order


def epoch_draws(seed: int, epoch: int, rows: int) -> NDArray[np.float64]:
    """A random number in [0, 1) for each row [rows] of an epoch; it selects the row's text."""
    return _generator(seed, epoch + 2**63).random(rows)


def apportion(count: int, weights: Sequence[Weight]) -> list[int]:
    """Divide the first `count` turns by `weights`: the sum is `count`, and each is within a few of its exact share.

    One more turn increases exactly one of the numbers, so this also decides whose turn it is. The first gets its
    share, rounded down; the second its share of the rest; and so on.
    """
    turns: list[int] = []
    rest = sum(weights)
    for weight in weights:
        turns.append(int(count * weight // rest))
        count -= turns[-1]
        rest -= weight
    return turns


def turn_at(step: int, weights: Sequence[Weight]) -> tuple[int, int]:
    """Which of `weights` has its turn at `step`, and how many turns it had before."""
    before, after = (apportion(count, weights) for count in (step, step + 1))
    chosen = next(
        number for number, (one, other) in enumerate(zip(before, after, strict=True)) if other > one
    )
    return chosen, before[chosen]


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
