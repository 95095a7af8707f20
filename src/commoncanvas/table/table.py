"""The catalog: the newest version of the table, and the ways to change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from commoncanvas.engine import Engine
from commoncanvas.table import append, backfill
from commoncanvas.table.namesakes import Namesakes
from commoncanvas.table.snapshot import Snapshot
from commoncanvas.table.stage import Stage


class Catalog(Snapshot):
    """A snapshot of the table, and the ways to change it.

    What is read is the version that was newest when it was opened, or last changed through this object;
    `refresh` moves to the newest. Any number of processes may read and change one table at once.
    """

    def add(
        self,
        batches: Iterable[pa.RecordBatch],
        namesakes: Namesakes | None = None,
        *,
        allow_lookalikes: bool = False,
    ) -> tuple[int, int]:
        """Add rows whose `image_id` isn't in the table; returns (added, already there).

        Batches have columns of the table, at least `image_id` and `source`. Every 65,536 rows are committed as they
        come, in fragments of 4,096, so an import that is killed has added whole groups, and one that is run again
        adds the rest. Any number of processes may add at once, the same rows too. What was taken down stays out,
        and what may be by somebody who was taken down is held back by `namesakes`; how many rows that were is said.
        An image that looks like one that was taken down is held back, unless `allow_lookalikes`: its row gets the
        status `looks_taken_down`, and is named.
        """
        self.must_be_newest("added to")
        return append.add(self, batches, namesakes, allow_lookalikes)

    def backfill(
        self,
        stage: Stage,
        *,
        engine: Engine | None = None,
        where: str | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> int:
        """Run `stage` over the rows that it has `todo` and that the SQL `where` lets in; returns how many
        rows it did.

        Missing columns are added. Where a row is done once more, what was made of the columns that change is
        reset to null, to be made once more too. Work lands fragment by fragment, in one commit every few
        seconds; killed at any moment, the next call does what is left. An exception of the stage is raised as
        it is, after the finished work has landed. `on_progress` gets the rows done since its last call
        (negative: rows that must be done again, since somebody else changed their fragment meanwhile).
        """
        self.must_be_newest("filled")
        return backfill.run(self, stage, engine, where, on_progress)
