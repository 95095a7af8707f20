"""The queue is bounded, loses nothing, and gives each owner a turn."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as some

from commoncanvas.serving.files import Files
from commoncanvas.serving.queue import FairQueue


@dataclass(eq=False)
class Item:
    owner: str
    kind: int
    number: int = 0


items = some.lists(some.tuples(some.sampled_from("abc"), some.integers(0, 2)), max_size=40)


@given(items, some.integers(1, 9), some.booleans())
def test_each_image_is_taken_once_in_batches_of_one_kind(
    asked: list[tuple[str, int]], at_once: int, shared: bool
) -> None:
    queue: FairQueue[Item] = FairQueue(20, shared)
    added = []
    for number, (owner, kind) in enumerate(asked):
        if queue.excess(owner, 1) == 0:
            added.append(Item(owner, kind, number))
            queue.add(added[-1:])
    assert len(queue) == len(added) <= 20
    taken = []
    while batch := queue.take(at_once):
        assert len({item.kind for item in batch}) == 1 and len(batch) <= at_once
        taken += batch
    assert len(queue) == 0 and queue.first() is None
    assert sorted(item.number for item in taken) == [item.number for item in added]
    for owner in "abc":
        for kind in range(3):
            mine = [item.number for item in taken if (item.owner, item.kind) == (owner, kind)]
            assert mine == sorted(mine)


def test_who_asks_for_much_does_not_make_others_wait() -> None:
    queue: FairQueue[Item] = FairQueue(100)
    queue.add([Item("much", 0, number) for number in range(50)])
    queue.add([Item("one", 0, 99)])
    assert [item.owner for item in queue.take(4)] == ["much", "one", "much", "much"]
    other = Item("one", 1)
    queue.add([other])
    assert [item.owner for item in queue.take(4)] == ["much"] * 4
    assert queue.take(4) == [other], "a batch of another kind comes after one turn, however much waits"
    assert queue.remove([other]) == [] and len(queue) == 43


@given(some.integers(1, 40), some.integers(0, 40), some.integers(1, 10), some.booleans())
def test_excess_is_the_number_of_images_that_must_leave(
    most: int, held: int, count: int, shared: bool
) -> None:
    queue: FairQueue[Item] = FairQueue(most, shared)
    queue.add([Item("a", 0) for _ in range(held)])
    excess = queue.excess("a", count)
    assert excess <= held
    queue.take(excess)
    assert queue.excess("a", count) == 0
    if excess:
        queue.add([Item("a", 0)])
        assert queue.excess("a", count) > 0, "no more than needed"


def test_files_leave_after_their_time_and_for_newer_ones() -> None:
    now = 0.0
    files = Files(most_bytes=10, kept_s=60, clock=lambda: now)
    first, second = files.add(b"12345"), files.add(b"67890")
    assert files.get(first) == b"12345"
    third = files.add(b"x")
    assert files.get(first) is None and files.get(second) == b"67890"
    now = 61
    assert files.get(third) is None and files.get("../x") is None


@given(items)
def test_the_place_in_the_queue_is_the_number_of_images_taken_before(asked: list[tuple[str, int]]) -> None:
    queue: FairQueue[Item] = FairQueue(40)
    added = [Item(owner, 0, number) for number, (owner, _) in enumerate(asked)]
    queue.add(added)
    places = {item.number: queue.ahead(item) for item in added}
    for number, item in enumerate(iter(lambda: next(iter(queue.take(1)), None), None)):
        assert places[item.number] == number and queue.ahead(item) is None
