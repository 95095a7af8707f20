"""The order of samples: each row once an epoch, known without replay, the same for any number of processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.config import ShuffleConfig
from commoncanvas.training.order import Order, apportion, block_order, epoch_order, turn_at

small = st.integers(1, 50)
seeds = st.integers(0, 2**32)
shuffles = st.none() | st.tuples(small, small).map(lambda two: ShuffleConfig(block=min(two), buffer=max(two)))


@given(seed=seeds, epoch=st.integers(0, 1000), rows=st.integers(1, 300))
def test_every_epoch_sees_every_row_once(seed: int, epoch: int, rows: int) -> None:
    assert sorted(epoch_order(seed, epoch, rows)) == list(range(rows))


@given(
    seed=seeds,
    batch_size=small,
    rows=small,
    steps=st.integers(1, 20),
    shuffle=shuffles,
    stream=st.integers(0, 3),
)
def test_steps_run_through_the_epochs_without_gap_or_repeat(
    seed: int, batch_size: int, rows: int, steps: int, shuffle: ShuffleConfig | None, stream: int
) -> None:
    order = Order(seed, rows, shuffle, stream)
    seen = [order.batch(step, batch_size).positions for step in range(steps)]
    for epoch in np.array_split(np.concatenate(seen), range(rows, steps * batch_size, rows)):
        assert len(set(epoch)) == len(epoch)
        assert len(epoch) < rows or set(epoch) == set(range(rows))
    # Any step is known alone, with the numbers of its rows.
    alone = Order(seed, rows, shuffle, stream).batch(steps - 1, batch_size)
    assert (alone.positions == seen[-1]).all()
    assert alone.draws.shape == (batch_size,)


@given(seed=seeds, rows=small, batch_size=small)
def test_a_rows_number_is_its_own_and_another_in_each_epoch(seed: int, rows: int, batch_size: int) -> None:
    plain, blocks = Order(seed, rows), Order(seed, rows, ShuffleConfig(block=2, buffer=5))
    steps = range(-(-2 * rows // batch_size))
    numbers = []
    for order in (plain, blocks):
        batches = [order.batch(step, batch_size) for step in steps]
        positions, draws = (
            np.concatenate([batch[place] for batch in batches])[: 2 * rows] for place in (0, 1)
        )
        numbers.append(
            [
                dict(zip(positions[part], draws[part], strict=True))
                for part in (slice(rows), slice(rows, None))
            ]
        )
    assert numbers[0] == numbers[1]
    assert not set(numbers[0][0].values()) & set(numbers[0][1].values())


@given(seed=seeds, epoch=st.integers(0, 9), rows=st.integers(1, 500), shuffle=shuffles)
def test_a_buffer_is_of_whole_blocks(seed: int, epoch: int, rows: int, shuffle: ShuffleConfig | None) -> None:
    if shuffle is None:
        return
    order = block_order(seed, epoch, rows, shuffle)
    assert sorted(order) == list(range(rows))
    most = (
        shuffle.buffer // shuffle.block + 2 + 1
    )  # one cut at either end, and the short one of the last rows
    for start in range(0, rows, shuffle.buffer):
        assert len(set(order[start : start + shuffle.buffer] // shuffle.block)) <= most


def test_order_changes_with_seed_epoch_and_stream() -> None:
    first = epoch_order(1, 0, 1000)
    assert (first != epoch_order(1, 1, 1000)).any()
    assert (first != epoch_order(2, 0, 1000)).any()
    assert (first != Order(1, 1000, stream=1).batch(0, 1000).positions).any()


def test_order_is_the_same_on_every_machine() -> None:
    assert epoch_order(17, 3, 8).tolist() == [2, 5, 6, 1, 4, 3, 0, 7]
    assert block_order(17, 3, 8, ShuffleConfig(block=2, buffer=4)).tolist() == [2, 3, 5, 4, 0, 1, 6, 7]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_process_reads_its_own_stretch_of_a_buffer(world: int) -> None:
    """Slices of the batches add up to the batch, and to far fewer ranges than one a row."""
    rows, size = 8192, 256
    order = Order(3, rows, ShuffleConfig(block=256, buffer=4096))
    batches = [order.batch(step, size).positions for step in range(4096 // size)]
    ranges = []
    for rank in range(world):
        mine = np.sort(
            np.concatenate([batch[rank * size // world : (rank + 1) * size // world] for batch in batches])
        )
        ranges.append(1 + int((np.diff(mine) > 1).sum()))
    assert max(ranges) < 4096 / world / 4


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=8), st.integers(0, 10**9))
def test_turns_are_shared_out_by_weight(weights: list[int], count: int) -> None:
    had = apportion(count, weights)
    assert sum(had) == count
    for turns, weight in zip(had, weights, strict=True):
        assert abs(turns - count * weight / sum(weights)) <= len(weights)
    chosen, before = turn_at(count, weights)
    after = list(had)
    after[chosen] += 1
    assert apportion(count + 1, weights) == after
    assert before == had[chosen]
