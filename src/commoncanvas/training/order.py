"""The order of samples: which rows a step trains on, pure functions of (seed, step) that need no replay."""

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
"""Epochs between the keys of one stream and those of the next."""


class Samples(NamedTuple):
    """A batch: its rows, a number in [0, 1) drawn for each row and epoch, and the shuffle buffer each is from."""

    positions: NDArray[np.int64]
    draws: NDArray[np.float64]
    buffers: NDArray[np.int64]

    def part(self, share: slice) -> Samples:
        """Those of one process."""
        return Samples(self.positions[share], self.draws[share], self.buffers[share])


class Order:
    """Rows 0..rows-1 epoch after epoch, each shuffled anew; `stream`s of one seed share nothing.

    Samples run on without a gap, so a batch may span two epochs and none is ever cut short. With `shuffle` rows are
    numbered in order of storage, see `block_order`.
    """

    def __init__(self, seed: int, rows: int, shuffle: ShuffleConfig | None = None, stream: int = 0) -> None:
        self.rows = rows
        self.shuffle = shuffle
        self.buffer = min(shuffle.buffer, rows) if shuffle else rows
        self.buffers = -(-rows // self.buffer)
        """An epoch."""
        order = partial(block_order, shuffle=shuffle) if shuffle else epoch_order
        self._order = lru_cache(maxsize=2)(lambda epoch: order(seed, epoch + stream * STREAMS, rows))
        # Once for all of the loader's threads: an epoch of many rows takes seconds, and memory.
        self._lock = Lock()
        self._draws = lru_cache(maxsize=2)(lambda epoch: epoch_draws(seed, epoch + stream * STREAMS, rows))

    def batch(self, turn: int, size: int) -> Samples:
        """The `turn`th batch of `size`."""
        return self.samples(turn * size, (turn + 1) * size)

    def samples(self, start: int, stop: int) -> Samples:
        """Samples start..stop-1, which are of one batch.

        In a batch the rows of a buffer are in order of storage, which is nothing to the gradient: but processes that
        take a slice of each batch then read their own stretches of the buffer.
        """
        epochs, places = np.divmod(np.arange(start, stop, dtype=np.int64), self.rows)
        buffers = epochs * self.buffers + places // self.buffer
        among = [(int(epoch), epochs == epoch) for epoch in np.unique(epochs)]
        positions, draws = np.empty(stop - start, np.int64), np.empty(stop - start)
        with self._lock:
            for epoch, here in among:
                positions[here] = self._order(epoch)[places[here]]
            if self.shuffle:
                positions = positions[np.lexsort((positions, buffers))]
            for epoch, here in among:
                draws[here] = self._draws(epoch)[positions[here]]
        return Samples(positions, draws, buffers)

    def turns(self, buffer: int, size: int) -> range:
        """The batches of `size` that have rows of a buffer."""
        epoch, number = divmod(buffer, self.buffers)
        start = epoch * self.rows + number * self.buffer
        stop = min(start + self.buffer, (epoch + 1) * self.rows)
        return range(start // size, (stop - 1) // size + 1)


def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The permutation [rows] of epoch `epoch`; the same on every machine (counter-based Philox)."""
    return _generator(seed, epoch).permutation(rows)


def block_order(seed: int, epoch: int, rows: int, shuffle: ShuffleConfig) -> NDArray[np.int64]:
    """A permutation [rows] that can be read in ranges: blocks of neighbours are shuffled, and as many as fill the
    buffer then row by row.
    """
    generator = _generator(seed, epoch)
    count = -(-rows // shuffle.block)
    places = generator.permutation(count)[:, None] * shuffle.block + np.arange(shuffle.block)
    order = places[places < rows]
    for start in range(0, rows, shuffle.buffer):
        generator.shuffle(order[start : start + shuffle.buffer])
    return order


def epoch_draws(seed: int, epoch: int, rows: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each row [rows], anew in each epoch: by it a row's text is drawn."""
    return _generator(seed, epoch + 2**63).random(rows)


def apportion(count: int, weights: Sequence[Weight]) -> list[int]:
    """How many of the first `count` turns each of `weights` has had: all of them in all, and each within a few of its
    share. One more turn is one more for one of them, so this is also whose turn it is.

    The first has its share, rounded down; the next its share of what that leaves, and so on.
    """
    had: list[int] = []
    left = sum(weights)
    for weight in weights:
        had.append(int(count * weight // left))
        count -= had[-1]
        left -= weight
    return had


def turn_at(step: int, weights: Sequence[Weight]) -> tuple[int, int]:
    """Whose turn step `step` is, and how many turns that one has had before."""
    before, after = (apportion(count, weights) for count in (step, step + 1))
    chosen = next(
        number for number, (one, other) in enumerate(zip(before, after, strict=True)) if other > one
    )
    return chosen, before[chosen]


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
