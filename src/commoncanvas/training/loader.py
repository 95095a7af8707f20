"""Read the batches of a run's steps ahead, this process's part of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from itertools import chain, count, islice
from threading import Lock
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.config import Recipe
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.order import Order, Samples, apportion, turn_at
from commoncanvas.training.task import Batch, Task

Made = TypeVar("Made")
AT_ONCE = 512
"""Fewest rows per read. A read costs about as much as a hundred rows, so small batches are read for several steps."""
HELD_BYTES, HELD_ROWS = 128 << 20, 1 << 16
"""A collection up to this size stays in memory, because reading would slow a small network's steps by a percent."""
Ids = NDArray[np.uint64]


class Stream(NamedTuple):
    """Rows of one kind and one source: their positions, in the numbering of `order`, and their share of samples."""

    rows: NDArray[np.int64]
    order: Order
    weight: Fraction

    def samples(self, start: int, stop: int) -> Samples:
        samples = self.order.samples(start, stop)
        return samples._replace(positions=self.rows[samples.positions])


class Loader:
    """Decides which rows each step trains on, and reads them."""

    def __init__(self, task: Task, recipe: Recipe, ranks: Ranks) -> None:
        self.task = task
        self.size = recipe.train.batch_size
        self.share = ranks.share(self.size)
        self.ids = task.rows.ids("train")
        shuffle = recipe.data.shuffle
        stored = np.argsort(self.ids) if shuffle else np.arange(len(self.ids))
        sources, kinds = task.rows.sources_of("train")[stored], task.rows.kinds_of("train")[stored]
        shares = [each.share for each in recipe.data.catalogs.values()]
        counts = np.bincount(sources)
        self._kinds: list[list[Stream]] = []
        numbers = count()
        for places in positions_by_kind(kinds):
            parts = [places[part] for part in positions_by_kind(sources[places])]
            part_sources = [int(sources[part[0]]) for part in parts]
            self._kinds.append(
                [
                    Stream(
                        stored[part],
                        Order(recipe.seed, len(part), shuffle, next(numbers)),
                        Fraction(str(shares[source])) * len(part) / int(counts[source]),
                    )
                    for part, source in zip(parts, part_sources, strict=True)
                ]
            )
        self._weights = [sum((stream.weight for stream in streams), Fraction()) for streams in self._kinds]
        self._held: pa.Table | None = None

    def kind(self, step: int) -> int:
        """The kind of a step's rows: its index among the kinds, in order of their numbers."""
        return turn_at(step, self._weights)[0]

    def samples(self, step: int) -> Samples:
        """A step's samples, for all processes. Positions count the task's rows of split train."""
        kind, turn = turn_at(step, self._weights)
        streams = self._kinds[kind]
        begin, end = (
            apportion(turns * self.size, [stream.weight for stream in streams]) for turns in (turn, turn + 1)
        )
        parts = [stream.samples(*ends) for stream, *ends in zip(streams, begin, end, strict=True)]
        return Samples(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def batch(self, step: int) -> Batch:
        """This process's part of a step's batch, without reading ahead."""
        return self._read(range(step, step + 1))[0]

    def _read(self, steps: range) -> list[Batch]:
        parts = [self.samples(step).part(self.share) for step in steps]
        positions = np.concatenate([part.positions for part in parts])
        table = self._rows(positions) if self._held is None else self._held.take(positions)
        size = len(parts[0].positions)
        return [
            self.task.batch(table.slice(number * size, size), part.draws) for number, part in enumerate(parts)
        ]

    def _rows(self, positions: NDArray[np.int64]) -> pa.Table:
        return self.task.rows.read("train", positions, list(self.task.columns))

    def _hold(self) -> pa.Table | None:
        """All rows, or None if they are too many to keep in memory."""
        if len(self.ids) > HELD_ROWS:
            return None
        first = self._rows(np.arange(min(AT_ONCE, len(self.ids))))
        if first.nbytes / len(first) * len(self.ids) > HELD_BYTES:
            return None
        return (
            first if len(first) == len(self.ids) else self._rows(np.arange(len(self.ids)))
        ).combine_chunks()

    def batches(self, first: int, stop: int) -> Generator[tuple[int, Batch]]:
        """(step, this process's part of its batch) for steps first..stop-1, read ahead."""
        if self._kinds[0][0].order.shuffle is None:
            several = max(1, AT_ONCE // (self.share.stop - self.share.start))
            self._held = self._hold()

            def read(number: int) -> list[Batch]:
                return self._read(range(max(first, number * several), min(stop, (number + 1) * several)))

            ahead = 5 if several == 1 else 3
            with closing(prefetch(read, first // several, -(-stop // several), ahead)) as groups:
                yield from enumerate(chain.from_iterable(batches for _, batches in groups), first)
            return
        steps = range(first, stop)
        begun = int(self.samples(first).buffers[0])
        with closing(Buffers(begun, lambda number: self._ids(number, steps), self._take)) as buffers:
            yield from prefetch(lambda step: self._buffered(step, buffers), first, stop)

    def _buffered(self, step: int, buffers: Buffers) -> Batch:
        part = self.samples(step).part(self.share)
        return self.task.batch(buffers.read(self.ids[part.positions], part.buffers), part.draws)

    def _take(self, ids: Ids) -> pa.Table:
        """Rows of the only catalog: `data.shuffle` doesn't work with several."""
        (catalog,) = self.task.rows.catalogs
        return catalog.take(ids, list(self.task.columns))

    def _ids(self, number: int, steps: range) -> Ids:
        """The rows of a shuffle buffer that this process trains on in `steps`, in storage order. With `data.shuffle`
        all rows have one kind and one source.
        """
        turns = self._kinds[0][0].order.turns(number, self.size)
        found = [self.ids[:0]]
        for step in range(max(turns.start, steps.start), min(turns.stop, steps.stop)):
            part = self.samples(step).part(self.share)
            found.append(self.ids[part.positions[part.buffers == number]])
        return np.sort(np.concatenate(found))


def positions_by_kind(kinds: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions of each kind in `kinds`."""
    return [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]


class Buffers:
    """Shuffle buffers, each read once, in storage order, so that one request reads many neighbours. Two are in memory:
    the current one and the next.
    """

    def __init__(self, first: int, ids: Callable[[int], Ids], take: Callable[[Ids], pa.Table]) -> None:
        """`first`: first buffer's number. `ids`: a buffer's sorted row ids, none past the end. `take`: reads rows."""
        self._ids, self._take = ids, take
        self._pool = ThreadPoolExecutor(1, "buffer")
        self._lock = Lock()
        self._held: dict[int, tuple[Ids, Future[pa.Table]]] = {}
        self._left: dict[int, int] = {}
        self._next = first

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, ids: Ids, buffers: NDArray[np.int64]) -> pa.Table:
        """Rows in the given order. Each row can be read once; a buffer is freed after its last row."""
        numbers = np.unique(buffers)
        return pa.concat_tables(self._rows(int(number), ids[buffers == number]) for number in numbers)

    def _rows(self, number: int, ids: Ids) -> pa.Table:
        with self._lock:
            self._begin(number)
            if len(self._held) < 2:
                self._begin(number + 1)
            sorted_ids, table = self._held[number]
        rows = table.result().take(np.searchsorted(sorted_ids, ids))
        with self._lock:
            self._left[number] -= len(ids)
            if not self._left[number]:
                del self._held[number], self._left[number]
        return rows

    def _begin(self, last: int) -> None:
        """Start to read all buffers up to `last`."""
        for number in range(self._next, last + 1):
            ids = self._ids(number)
            if len(ids):
                self._held[number] = ids, self._pool.submit(self._take, ids)
                self._left[number] = len(ids)
            self._next = number + 1


def prefetch(
    make: Callable[[int], Made], first: int, stop: int, depth: int = 5
) -> Generator[tuple[int, Made]]:
    """(step, make(step)) for steps first..stop-1, in order. Threads make the next ones in parallel; at most
    `depth` are in memory, including the current one.
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
