"""The set of ids that an import keeps in memory answers as a set does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.table import known_ids
from commoncanvas.table.known_ids import KnownIds, Seen

IDS = st.lists(st.text(max_size=3), max_size=30)


@given(st.lists(IDS, max_size=8), IDS, st.sampled_from([1, 20, 1 << 20]))
def test_it_contains_what_was_added_and_nothing_else(
    groups: list[list[str]], asked: list[str], spilled: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_ids, "SPILLED", spilled)
        ids = KnownIds()
        for group in groups:
            ids.add(group)
    everything = {one for group in groups for one in group}
    asked = asked + sorted(everything)
    assert ids.contains(asked).tolist() == [one in everything for one in asked]
    assert len(ids) == sum(map(len, groups))


def test_a_set_of_any_size_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_ids, "SPILLED", 1000)
    ids = KnownIds()
    for start in range(0, 100_000, 500):
        ids.add([f"a:{number}" for number in range(start, start + 500)])
    # Each run on disk is at least twice the next: few are to be looked through.
    sizes = [len(run) for run in ids._spilled]
    assert sum(sizes) > 98_000 and all(one >= 2 * other for one, other in pairwise(sizes))
    assert sum(len(first) for first, _ in ids._recent) < 1000
    assert ids.contains(["a:0", "a:99999", "a:100000"]).tolist() == [True, True, False]


@pytest.mark.parametrize("spilled", [1, 1 << 20])
def test_ids_that_share_half_of_their_fingerprint_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, spilled: int
) -> None:
    monkeypatch.setattr(known_ids, "SPILLED", spilled)

    def alike(ids: list[str]) -> known_ids.Fingerprints:
        return np.zeros(len(ids), np.uint64), np.array([int(one) for one in ids], np.uint32)

    monkeypatch.setattr(known_ids, "_fingerprints", alike)
    ids = KnownIds()
    ids.add(["3", "1", "7"])
    ids.add(["4"])
    assert ids.contains(["7", "2", "1", "4", "3", "9"]).tolist() == [True, False, True, True, True, False]


@given(st.lists(st.text(max_size=2), max_size=200), st.sampled_from([1, 100, 1 << 20]))
def test_ids_that_come_one_by_one_are_first_once(ids: list[str], spilled: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_ids, "SPILLED", spilled)
        patch.setattr(known_ids, "FILTER_BITS", 10)  # so few that different ids share one
        seen = Seen()
        found = [seen.first(one) for one in ids]
    assert found == [one not in ids[:place] for place, one in enumerate(ids)]
