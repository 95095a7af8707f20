"""What is kept in memory stays within its size, and what was asked for stays longest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.core.kept import Kept


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9))), st.integers(1, 20))
def test_the_newest_is_there_and_the_sum_is_not_exceeded(puts: list[tuple[int, int]], most: int) -> None:
    kept: Kept[int, int] = Kept(most, lambda size: size)
    for key, size in puts:
        kept.put(key, size)
        assert kept.get(key) == size
        there = [value for each in range(6) if (value := kept.get(each)) is not None]
        assert sum(there) <= most or len(there) == 1


def test_what_was_asked_for_stays_longest() -> None:
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    kept.drop("a")
    assert kept.get("a") is None
