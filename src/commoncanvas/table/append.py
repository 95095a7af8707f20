"""Add rows, each image once, even if several processes add at the same time.

Rows are appended, which never conflicts. An import keeps all known ids in memory, 12 bytes each, so it need not search
the table for each group. If another process adds the same id meanwhile, the import that notices it first deletes the
later row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import compress, islice
from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.core.console import say
from commoncanvas.core.text import counted
from commoncanvas.engine import ahead
from commoncanvas.table.fill_images import Filler, brings_images
from commoncanvas.table.known_ids import KnownIds
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.namesakes import Namesakes
from commoncanvas.table.report import Report
from commoncanvas.table.reuploads import TakenDown, say_lookalikes
from commoncanvas.table.rows import RowIds
from commoncanvas.table.schema import SCHEMA, regroup
from commoncanvas.table.sql import listed
from commoncanvas.table.tombstones import COLUMNS, Tombstones

if TYPE_CHECKING:
    from commoncanvas.table.snapshot import Snapshot

FRAGMENT_ROWS = 4096
"""Most rows of a fragment. A write holds a fragment's images in memory (4,096 of 100 KB: 0.4 GB)."""
PART_ROWS = 4 * FRAGMENT_ROWS
"""Most rows per write. One part is in memory while the next one is made."""
GROUP_ROWS = 4 * PART_ROWS
"""About this many rows per commit. A commit writes a manifest that lists every fragment."""
GROUP_BYTES = 256 << 20
"""About this many bytes per part or commit. Uncommitted rows are lost if the process ends."""
SCAN_ROWS = 1 << 17
CONFLICT_RETRIES = 50
RESOLVED_AT_ONCE = 10_000


def add(
    catalog: Snapshot,
    batches: Iterable[pa.RecordBatch],
    namesakes: Namesakes | None = None,
    allow_lookalikes: bool = False,
) -> tuple[int, int]:
    """See `Catalog.add`."""
    catalog.add_columns(SCHEMA)  # an older version of the program may have made the table with fewer
    with explaining(f"catalog {catalog.uri}: its rows can't be read"):
        adder = Adder(catalog)
    namesakes = namesakes or Namesakes(Report())
    filler: Filler | None = None
    given = refused = filled = 0
    lookalikes: list[str] = []
    try:
        for part in ahead(regroup(batches, PART_ROWS, GROUP_BYTES)):
            with explaining(f"catalog {catalog.uri}: rows can't be added"):
                out = adder.stones.refused(part)
                refused += int(out.sum())
                out |= namesakes.skip(part, adder.stones.keys, adder.has)
                allowed = part.filter(pa.array(~out)) if out.any() else part
                allowed, refused_ids = TakenDown.of(adder.stones, allow_lookalikes).without(allowed)
                lookalikes += refused_ids
                given += len(allowed)
                new = adder.write_new(allowed)
                if new < len(allowed) and brings_images(allowed):
                    adder.commit()  # they may include rows without an image, which the filler fills
                    filler = filler or Filler(adder)
                    filled += filler.fill(allowed)
    finally:
        # Keep the rows that were read before an error.
        with explaining(f"catalog {catalog.uri}: rows can't be added"):
            adder.commit()
    if refused:
        say(f"{catalog.uri}: {counted(refused, 'rows')} skipped, taken down earlier")
    if namesakes.people:
        say(str(namesakes))
    say_lookalikes(catalog.uri, lookalikes)
    if filled:
        say(f"{catalog.uri}: {counted(filled, 'rows')} without an image got one")
    catalog.refresh()
    return adder.added, given - adder.added


class Adder:
    """Appends rows. Knows the ids of all rows below `horizon`."""

    def __init__(self, catalog: Snapshot) -> None:
        self.catalog = catalog
        self.stones = Tombstones(catalog.uri, catalog.storage_options)
        self.known = KnownIds()
        self.horizon = 0
        """Rows with smaller row ids were read. Lance gives row ids in the order of commits."""
        self.fragments: set[int] = set()
        self.added = 0
        """Rows that it added."""
        self._waiting = _Waiting()
        # An import that was killed between its commit and its check leaves duplicate ids.
        self._resolve(self._learn(catalog.dataset, catalog.dataset.get_fragments(), KnownIds()))

    def write_new(self, table: pa.Table) -> int:
        """Write the rows of `table` whose id is new, and commit when there are enough; returns how many it wrote.

        The caller has removed the rows that `stones` refuses.
        """
        new = self._new(table)
        if len(new):
            if not self._waiting.rows:
                self._waiting.stones = len(self.stones.table)
            self._waiting.add(self.write(new), new)
            if self._waiting.rows >= GROUP_ROWS or self._waiting.bytes >= GROUP_BYTES:
                self.commit()
        return len(new)

    def has(self, image_ids: list[str]) -> NDArray[np.bool_]:
        """[N] True for ids that are in the table or in the next commit."""
        return self.known.contains(image_ids) | self._waiting.ids.contains(image_ids)

    def commit(self) -> None:
        """Commit the written rows, then delete those that other processes added or took down meanwhile."""
        mine, self._waiting = self._waiting, _Waiting()
        if not mine.rows:
            return
        after = lance.LanceDataset.commit(
            self.catalog.uri,
            lance.LanceOperation.Append(mine.fragments),
            read_version=self.catalog.dataset.version,
            storage_options=self.catalog.storage_options,
        )
        self.catalog.dataset = after
        fresh = [part for part in after.get_fragments() if part.fragment_id not in self.fragments]
        own = self.own(fresh, mine.fragments)
        duplicates = self._learn(
            after, [part for part in fresh if part.fragment_id not in self.fragments], mine.ids
        )
        self.known.take_in(mine.ids)
        # The committed rows have the highest row ids.
        last = after.scanner(columns=[], with_row_id=True, fragments=own[-1:]).to_table()
        self.horizon = int(last["_rowid"].to_numpy().max()) + 1
        added = range(self.horizon - mine.rows, self.horizon)
        oldest = self._resolve(duplicates)
        others = [image_id for image_id, row_id in oldest.items() if row_id not in added]
        self.added += mine.rows - int(mine.ids.contains(others).sum())
        self.stones.refresh()
        if len(self.stones.table) > mine.stones:
            self._take_down(after, own)

    def own(self, fragments: Iterable[Any], written: Iterable[Any]) -> list[Any]:
        """Those of a table's `fragments` that are in `written`. They are marked as read."""
        paths = {file.path for fragment in written for file in fragment.files}
        found = [part for part in fragments if part.metadata.files[0].path in paths]
        self.fragments |= {part.fragment_id for part in found}
        return found

    def _take_down(self, dataset: Any, fragments: list[Any]) -> None:
        """Delete the rows of `fragments` that were taken down while they were added."""
        columns = [name for name in COLUMNS if name in dataset.schema.names]
        for batch in dataset.scanner(columns=columns, batch_size=SCAN_ROWS, fragments=fragments).to_batches():
            rows = pa.Table.from_batches([batch])
            self.remove(rows.filter(pa.array(self.stones.keys.mask(rows)))["image_id"].to_pylist())

    def write(self, rows: pa.Table | pa.RecordBatchReader) -> list[Any]:
        """Fragments of `rows`. They are not in the table before a commit."""
        written: list[Any] = lance.fragment.write_fragments(
            rows,
            self.catalog.dataset,
            mode="append",
            max_rows_per_file=FRAGMENT_ROWS,
            storage_options=self.catalog.storage_options,
        )
        return written

    def remove(self, image_ids: list[str]) -> None:
        """Delete the rows with these ids."""
        for start in range(0, len(image_ids), RESOLVED_AT_ONCE):
            newest = lance.dataset(self.catalog.uri, storage_options=self.catalog.storage_options)
            chosen = listed(image_ids[start : start + RESOLVED_AT_ONCE])
            newest.delete(f"image_id IN ({chosen})", conflict_retries=CONFLICT_RETRIES)

    def _new(self, table: pa.Table) -> pa.Table:
        """The rows with new ids; of repeated ids the first row."""
        ids = table["image_id"].to_pylist()
        first = {image_id: row for row, image_id in reversed(list(enumerate(ids)))}
        rows = np.array(sorted(first.values()), np.int64)
        distinct = [ids[row] for row in rows.tolist()]
        rows = rows[~self.has(distinct)]
        return table if len(rows) == len(table) else table.take(rows)

    def _learn(self, dataset: Any, fresh: list[Any], mine: KnownIds) -> set[str]:
        """Read the ids in new fragments of other processes; returns ids that the table has twice, or that are also in
        `mine`.
        """
        self.fragments |= {part.fragment_id for part in fresh}
        duplicates: set[str] = set()
        reached = self.horizon
        scanner = dataset.scanner(
            columns=["image_id"], with_row_id=True, batch_size=SCAN_ROWS, fragments=fresh
        )
        for batch in scanner.to_batches() if fresh else ():
            row_ids = batch["_rowid"].to_numpy()
            # A compaction moves old rows, with their row ids, into new fragments.
            ids = batch["image_id"].filter(pa.array(row_ids >= self.horizon)).to_pylist()
            known = self.known.contains(ids) | mine.contains(ids)
            duplicates |= set(compress(ids, known.tolist()))
            if len(set(ids)) < len(ids):
                duplicates |= {image_id for image_id, times in Counter(ids).items() if times > 1}
            self.known.add(ids)
            reached = max(reached, int(row_ids.max(initial=0)) + 1)
        self.horizon = reached
        return duplicates

    def _resolve(self, duplicates: set[str]) -> dict[str, int]:
        """Delete all but the oldest row of each id; returns the row ids of the oldest, by id."""
        kept: dict[str, int] = {}
        ids = iter(duplicates)
        while chunk := list(islice(ids, RESOLVED_AT_ONCE)):
            newest = lance.dataset(self.catalog.uri, storage_options=self.catalog.storage_options)
            found = newest.scanner(
                columns=["image_id"], filter=f"image_id IN ({listed(chunk)})", with_row_id=True
            ).to_table()
            oldest: dict[str, int] = {}
            every = found["_rowid"].to_numpy()
            for image_id, row_id in zip(found["image_id"].to_pylist(), every.tolist(), strict=True):
                oldest[image_id] = min(row_id, oldest.get(image_id, row_id))
            self._delete(every[~np.isin(every, list(oldest.values()))])
            kept |= oldest
        return kept

    def _delete(self, row_ids: RowIds) -> None:
        if len(row_ids):
            newest = lance.dataset(self.catalog.uri, storage_options=self.catalog.storage_options)
            chosen = ", ".join(map(str, row_ids.tolist()))
            newest.delete(f"_rowid IN ({chosen})", conflict_retries=CONFLICT_RETRIES)


class _Waiting:
    """Fragments that are written but not committed."""

    def __init__(self) -> None:
        self.fragments: list[Any] = []
        self.ids = KnownIds()
        self.rows = self.bytes = 0
        self.stones = 0
        """Number of tombstones when the first row was written."""

    def add(self, fragments: list[Any], table: pa.Table) -> None:
        self.fragments += fragments
        self.ids.add(table["image_id"].to_pylist())
        self.rows += len(table)
        self.bytes += table.nbytes
