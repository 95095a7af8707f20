"""Rows whose creator may be somebody who was taken down: an import holds them back until a person has decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.core.text import clean, counted
from commoncanvas.creators.names import NO_CREATOR
from commoncanvas.table.report import Report
from commoncanvas.table.tombstones import Keys

HELD_BACK = "creator may be one who was taken down"
LISTED = 50
"""So many people are named; all of their rows are counted."""


def naming(rows: pa.Table) -> list[str]:
    """The creator of each row as people read it: the name, and the address in brackets."""
    names = [clean(name) or NO_CREATOR for name in rows["creator"].to_pylist()]
    urls = [clean(url) for url in rows["creator_url"].to_pylist()]
    return [f"{name} ({url})" if url else name for name, url in zip(names, urls, strict=True)]


class Namesakes:
    """What one import holds back, of which `report` is told; nothing if a person has looked and these are `allowed`."""

    def __init__(self, report: Report, allowed: bool = False) -> None:
        self._report = report
        self._allowed = allowed
        self.people: Counter[str] = Counter()
        """Who -> rows held back."""

    def hold(
        self, rows: pa.Table, keys: Keys, present: Callable[[list[str]], NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """[N] True for the rows to hold back. `present` tells which ids are in the table: those were let in before."""
        near = np.zeros(len(rows), np.bool_) if self._allowed else keys.near(rows)
        if near.any():
            near[near] = ~present(rows["image_id"].filter(pa.array(near)).to_pylist())
            held = rows.filter(pa.array(near))
            who = naming(held)
            self.people.update(who)
            self._report.skip_many(HELD_BACK, len(held), zip(held["image_id"].to_pylist(), who, strict=True))
        return near

    def __str__(self) -> str:
        """What was held back, and what to do about it."""
        rows = sum(self.people.values())
        listed = ", ".join(f"{who}: {count:,}" for who, count in self.people.most_common(LISTED))
        more = f", and {len(self.people) - LISTED:,} more people" if len(self.people) > LISTED else ""
        return (
            f"{counted(rows, 'rows')} held back: the {HELD_BACK} ({listed}{more}). "
            "Take down those who are the same person (catalog takedown --creator), then import again with "
            "--allow-namesakes to let in the others"
        )
