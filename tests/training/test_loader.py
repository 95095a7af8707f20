import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.training.loader import epoch_order, prefetch, step_rows

small = st.integers(1, 50)


@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 1000), rows=st.integers(1, 300))
def test_every_epoch_sees_every_row_once(seed: int, epoch: int, rows: int) -> None:
    assert sorted(epoch_order(seed, epoch, rows)) == list(range(rows))


@given(seed=st.integers(0, 2**32), batch_size=small, rows=small, steps=st.integers(1, 20))
def test_steps_run_through_the_epochs_without_gap_or_repeat(
    seed: int, batch_size: int, rows: int, steps: int
) -> None:
    seen = np.concatenate([step_rows(seed, step, batch_size, rows) for step in range(steps)])
    wanted = np.concatenate(
        [epoch_order(seed, epoch, rows) for epoch in range(-(-steps * batch_size // rows))]
    )
    assert (seen == wanted[: len(seen)]).all()


def test_order_changes_with_seed_and_epoch() -> None:
    first = epoch_order(1, 0, 1000)
    assert (first != epoch_order(1, 1, 1000)).any()
    assert (first != epoch_order(2, 0, 1000)).any()


def test_order_is_the_same_on_every_machine() -> None:
    assert epoch_order(17, 3, 8).tolist() == [2, 5, 6, 1, 4, 3, 0, 7]


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
