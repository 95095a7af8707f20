"""Rows whose creator may be a person who was taken down. An import skips them until a user has decided."""

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

MAY_BE_TAKEN_DOWN = "creator may be a person who was taken down"
LISTED = 50
"""Most people that the notice names. It counts the rows of all."""


def naming(rows: pa.Table) -> list[str]:
    """The creator of each row for people to read: the name, and the URL in brackets."""
    names = [clean(name) or NO_CREATOR for name in rows["creator"].to_pylist()]
    urls = [clean(url) for url in rows["creator_url"].to_pylist()]
    return [f"{name} ({url})" if url else name for name, url in zip(names, urls, strict=True)]


class Namesakes:
    """The rows that one import skips. They are added to `report`. `allowed`: a user checked them; skip none."""

    def __init__(self, report: Report, allowed: bool = False) -> None:
        self._report = report
        self._allowed = allowed
        self.people: Counter[str] = Counter()
        """Person -> skipped rows."""

    def skip(
        self, rows: pa.Table, keys: Keys, present: Callable[[list[str]], NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """[N] True for the rows to skip. `present` says which ids are in the table: an earlier import allowed these."""
        near = np.zeros(len(rows), np.bool_) if self._allowed else keys.near(rows)
        if near.any():
            near[near] = ~present(rows["image_id"].filter(pa.array(near)).to_pylist())
            near_rows = rows.filter(pa.array(near))
            who = naming(near_rows)
            self.people.update(who)
            ids = near_rows["image_id"].to_pylist()
            self._report.skip_many(MAY_BE_TAKEN_DOWN, len(ids), zip(ids, who, strict=True))
        return near

    def __str__(self) -> str:
        """The skipped rows, and what to do about them."""
        rows = sum(self.people.values())
        listed = ", ".join(f"{who}: {count:,}" for who, count in self.people.most_common(LISTED))
        more = f", and {len(self.people) - LISTED:,} more people" if len(self.people) > LISTED else ""
        return (
            f"{counted(rows, 'rows')} skipped: the {MAY_BE_TAKEN_DOWN} ({listed}{more}). "
            "Take down each of them who is the same person (catalog takedown --creator), then import again with "
            "--allow-namesakes to import the others"
        )
