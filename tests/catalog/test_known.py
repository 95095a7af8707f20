"""The set of ids that an import keeps in memory answers as a set does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import known
from commoncanvas.catalog.known import KnownIds

IDS = st.lists(st.text(max_size=3), max_size=30)


@given(st.lists(IDS, max_size=8), IDS)
def test_it_contains_what_was_added_and_nothing_else(groups: list[list[str]], asked: list[str]) -> None:
    ids = KnownIds()
    for group in groups:
        ids.add(group)
    everything = {one for group in groups for one in group}
    asked = asked + sorted(everything)
    assert ids.contains(asked).tolist() == [one in everything for one in asked]


def test_ids_that_share_half_of_their_fingerprint_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(ids: list[str]) -> known.Fingerprints:
        return np.zeros(len(ids), np.uint64), np.array([int(one) for one in ids], np.uint32)

    monkeypatch.setattr(known, "_fingerprints", alike)
    ids = KnownIds()
    ids.add(["3", "1", "7"])
    ids.add(["4"])
    assert ids.contains(["7", "2", "1", "4", "3", "9"]).tolist() == [True, False, True, True, True, False]
