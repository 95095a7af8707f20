"""Reading ahead: every step in order, no further than asked, and of shuffle buffers each range once."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog
from commoncanvas.selection.rows import TrainingRows
from commoncanvas.training import loader
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.loader import Buffers, Ids, Loader, prefetch
from commoncanvas.training.tasks.make import make_task
from tests.training.tiny import recipe


@given(first=st.integers(0, 5), count=st.integers(0, 20), depth=st.integers(1, 5))
def test_prefetch_yields_every_step_in_order(first: int, count: int, depth: int) -> None:
    made = list(prefetch(lambda step: step * step, first, first + count, depth))
    assert made == [(step, step * step) for step in range(first, first + count)]


def test_prefetch_works_ahead_of_the_consumer_but_no_further_than_its_depth() -> None:
    started: list[int] = []
    steps = prefetch(lambda step: started.append(step), 0, 100, depth=3)
    next(steps)
    deadline = time.monotonic() + 5
    while len(started) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert started == [0, 1, 2]
    steps.close()


def test_prefetch_raises_the_readers_error_and_stops_its_thread() -> None:
    def read(step: int) -> int:
        if step == 2:
            raise ValueError("row 2 is broken")
        return step

    before = threading.active_count()
    with pytest.raises(ValueError, match="row 2 is broken"):
        list(prefetch(read, 0, 10))
    assert threading.active_count() == before


@pytest.mark.parametrize("rows", [1, loader.AT_ONCE])
def test_a_small_collection_is_read_at_the_start_alone_and_gives_the_same_batches(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    made = recipe("xs-autoencoder", tmp_path)
    task = make_task(made)
    read, counts, found = TrainingRows.read, [0, 0], []
    monkeypatch.setattr(loader, "AT_ONCE", rows)
    for number, held in enumerate((0, loader.HELD_BYTES)):

        def counted(self: TrainingRows, *words: Any, number: int = number) -> pa.Table:
            counts[number] += 1
            return read(self, *words)

        monkeypatch.setattr(TrainingRows, "read", counted)
        monkeypatch.setattr(loader, "HELD_BYTES", held)
        found.append(list(Loader(task, made, Ranks(0, 1, torch.device("cpu"))).batches(3, 80)))
    assert counts[1] <= 2 < counts[0]
    for (step, batch), (other, held_batch) in zip(*found, strict=True):
        assert step == other
        assert all(torch.equal(value, held_batch[name]) for name, value in batch.items())


BLOCKS = ("--data.shuffle.block", "2", "--data.shuffle.buffer", "10")


@pytest.mark.parametrize(("first", "world"), [(0, 1), (0, 2), (4, 1), (5, 4)])
def test_out_of_buffers_comes_what_single_rows_would_give(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, world: int
) -> None:
    """From any step on, for each of any number of processes; and no row of a buffer is read twice."""
    made = recipe("xs-autoencoder", tmp_path, *BLOCKS)
    task = make_task(made)
    monkeypatch.setattr(task, "batch", lambda table, draws: {"ids": table["_rowid"].to_numpy()})
    monkeypatch.setattr(type(task), "columns", ("_rowid",))
    read: list[Ids] = []
    take = Loader._take
    monkeypatch.setattr(Loader, "_take", lambda self, ids: read.append(ids) or take(self, ids))  # type: ignore[func-returns-value]
    steps = [[] for _ in range(first, 14)]
    for rank in range(world):
        loader = Loader(task, made, Ranks(rank, world, torch.device("cpu")))
        for step, batch in loader.batches(first, 14):
            steps[step - first].extend(batch["ids"].tolist())
    wanted = [loader.ids[loader.samples(step).positions].tolist() for step in range(first, 14)]
    assert steps == wanted
    assert sum(len(ids) for ids in read) == 8 * (14 - first)
    assert all((np.diff(ids.astype(np.int64)) > 0).all() for ids in read)


def test_of_buffers_two_are_in_memory() -> None:
    held: list[int] = []

    def take(ids: Ids) -> pa.Table:
        held.append(len(buffers._held))
        return pa.table({"id": ids})

    buffers = Buffers(3, lambda number: np.arange(number * 6, number * 6 + 6, dtype=np.uint64), take)
    for start in range(18, 600, 4):
        ids = np.arange(start, start + 4, dtype=np.uint64)
        rows = buffers.read(ids, (ids // 6).astype(np.int64))
        assert rows["id"].to_pylist() == ids.tolist()
    buffers.close()
    assert max(held) <= 2
    assert len(held) >= 97
