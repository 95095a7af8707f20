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
    """A snapshot of the table, with methods to change it.

    It reads the version that was newest when it was opened or last changed through this object; `refresh` moves
    to the newest. Several processes may read and change one table at the same time.
    """

    def add(
        self,
        batches: Iterable[pa.RecordBatch],
        namesakes: Namesakes | None = None,
        *,
        allow_lookalikes: bool = False,
    ) -> tuple[int, int]:
        """Add rows whose `image_id` isn't in the table; returns (added, already in the table).

        Batches have columns of the table, at least `image_id` and `source`. Every 65,536 rows are one commit, in
        fragments of 4,096. If an import is killed, run it again: it adds the rest. Several processes may add at the
        same time, even the same rows. Rows that were taken down are skipped. `namesakes` skips rows whose creator may
        be a person who was taken down. A notice counts both. An image that looks like a taken-down image is not stored,
        unless `allow_lookalikes`: its row gets the status `looks_taken_down`, and a notice names it.
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
        """Run `stage` on the rows that match its `todo` and the SQL `where`; returns the number of rows processed.

        Missing columns are added. If a row is processed again, the columns made from its changed columns are reset to
        null. Work is committed every few seconds, fragment by fragment; if the call is killed, the next call does
        the rest. An exception of the stage is raised unchanged, after finished work is committed. `on_progress` gets
        the rows processed since its last call (negative: rows to process again, because another process changed
        their fragment meanwhile).
        """
        self.must_be_newest("filled")
        return backfill.run(self, stage, engine, where, on_progress)
