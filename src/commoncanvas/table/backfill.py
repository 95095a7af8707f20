"""Run a stage on the table: workers write new columns of fragments, and one driver commits them in groups.

A fragment is processed in slices of about a minute, so a crash loses at most that. If a slice's fragment changed
meanwhile, the slice is not committed, and its missing rows are processed again.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa

from commoncanvas.core.console import progress
from commoncanvas.engine import Engine, LocalEngine, ahead, every, portable
from commoncanvas.table.columns import derived
from commoncanvas.table.commits import Slice, commit
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.rows import RowIds, take_rows
from commoncanvas.table.sql import all_of
from commoncanvas.table.stage import Counting, Preparing, Stage, check_result

if TYPE_CHECKING:
    from commoncanvas.table.snapshot import Snapshot

COMMIT_SECONDS = 3.0
"""Seconds between commits of the driver. A commit writes a manifest that lists every fragment."""
SLICE_SECONDS = 60.0
"""After so many seconds, a worker returns the finished part of a fragment."""
REOPEN_SECONDS = 3.0
"""Seconds after which a worker opens the newest version, so that parallel runs don't repeat each other's rows."""

NOTE_SECONDS = 1.0


@dataclass(frozen=True)
class Computed:
    """New columns of the first rows of `row_ids`, all from one fragment, in memory."""

    dataset: Any
    fragment: Any
    row_ids: RowIds
    results: list[pa.RecordBatch]
    failure: Exception | None


@dataclass
class FragmentWork:
    """The function that engines map: fragment id -> a slice of its pending rows, or None if there are none.

    A process that receives it again in the same run uses the stage that it has already set up.
    """

    uri: str
    storage_options: dict[str, str] | None = field(repr=False)
    stage: Stage
    where: str | None
    on_progress: Callable[[int], object] | None
    only: RowIds | None = None
    done: dict[int, RowIds] = field(default_factory=dict)
    """Rows done by earlier slices of this run. They are not done again, even if `todo` still matches them."""
    elsewhere: bool = False
    """Whether it runs in another process than the driver."""
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    _ready: bool = False
    _opened: tuple[float, Any] | None = None

    def setup(self) -> None:
        with _setting_up:
            if self._ready:
                return
            if self.elsewhere:
                if self.run not in _set_up:
                    self.stage.setup()
                    _set_up.clear()
                    _set_up[self.run] = self.stage
                self.stage = _set_up[self.run]
            else:
                self.stage.setup()
            self._ready = True

    def without_keys(self) -> tuple[FragmentWork, dict[str, str] | None]:
        """See engine.ray.Keyed."""
        return replace(self, storage_options=None), self.storage_options

    def reopen(self) -> None:
        """Use the newest version from now on."""
        self._opened = None

    def __call__(self, fragment_id: int) -> Slice | None:
        computing = self.compute(fragment_id)
        while True:
            try:
                next(computing)
            except StopIteration as end:
                return self.write(end.value) if end.value else None

    def compute(self, fragment_id: int) -> Generator[None, None, Computed | None]:
        """Run the stage on a fragment's pending rows, in order, for about SLICE_SECONDS or until it fails. Results from
        before a failure are returned. Yields after each batch.
        """
        self.setup()
        dataset = self._dataset()
        fragment = dataset.get_fragment(fragment_id)
        if fragment is None:  # another process compacted or emptied it meanwhile
            return None
        row_ids = self._pending(dataset, fragment)
        if not len(row_ids):
            return None
        results: list[pa.RecordBatch] = []
        failure: Exception | None = None
        began = time.monotonic()
        with closing(self._prepared(dataset, row_ids)) as batches:
            while not results or time.monotonic() - began < SLICE_SECONDS:
                try:
                    batch, finish = next(batches, (None, None))
                    if batch is None or finish is None:
                        break
                    result = self._timed(finish)
                    check_result(self.stage, batch, result)
                except Exception as error:
                    if not results:
                        raise
                    failure = error
                    break
                results.append(result.select([column.name for column in self.stage.writes]))
                if self.on_progress:
                    self.on_progress(len(batch))
                yield
        return Computed(dataset, fragment, row_ids, results, failure)

    def write(self, computed: Computed) -> Slice:
        """Write new column files of a fragment. They are invisible before a commit."""
        dataset, fragment = computed.dataset, computed.fragment
        columns = pa.Table.from_batches(computed.results)
        done = len(columns)
        row_ids = computed.row_ids[:done]
        for outdated in self._outdated(dataset, fragment, row_ids):
            columns = columns.append_column(outdated, pa.nulls(done, outdated.type))
        columns = columns.append_column("_rowid", pa.array(row_ids, pa.uint64()))
        with explaining(f"catalog {self.uri}: results of {self.stage.name} can't be written"):
            metadata, fields = fragment.update_columns(columns)
        return Slice(
            fragment.fragment_id,
            dataset.version,
            row_ids,
            json.dumps(fragment.metadata.to_json()),
            json.dumps(metadata.to_json()),
            list(fields),
            finished=done == len(computed.row_ids),
            counted=self.stage.take_counts() if self.elsewhere and isinstance(self.stage, Counting) else None,
            failure=portable(computed.failure) if self.elsewhere and computed.failure else computed.failure,
        )

    def _prepared(
        self, dataset: Any, row_ids: RowIds
    ) -> Generator[tuple[pa.RecordBatch, Callable[[], pa.RecordBatch]]]:
        """Batches, each with the function that computes its result; a Preparing stage prepares on another thread."""
        stage = self.stage

        def made() -> Generator[tuple[pa.RecordBatch, Callable[[], pa.RecordBatch]]]:
            done = 0
            while done < len(row_ids):
                chosen = row_ids[done : done + stage.batch_size]
                batch = take_rows(dataset, chosen, stage.reads).combine_chunks().to_batches()[0]
                yield batch, stage.prepare(batch) if isinstance(stage, Preparing) else partial(stage, batch)
                done += len(chosen)

        return ahead(made()) if isinstance(stage, Preparing) else made()

    def _timed(self, finish: Callable[[], pa.RecordBatch]) -> pa.RecordBatch:
        began = time.monotonic()
        try:
            return finish()
        finally:
            if isinstance(self.stage, Preparing):
                self.stage.busy_s += time.monotonic() - began

    def _outdated(self, dataset: Any, fragment: Any, row_ids: RowIds) -> list[pa.Field]:
        """Columns with values in these rows that were made from columns about to change."""
        outdated = []
        for name in derived(dataset.schema, [column.name for column in self.stage.writes]):
            scanner = dataset.scanner(
                columns=[], filter=f"{name} IS NOT NULL", with_row_id=True, fragments=[fragment]
            )
            if np.isin(row_ids, scanner.to_table()["_rowid"].to_numpy()).any():
                outdated.append(dataset.schema.field(name))
        return outdated

    def _dataset(self) -> Any:
        now = time.monotonic()
        if self._opened is None or now - self._opened[0] > REOPEN_SECONDS:
            with explaining(
                f"catalog {self.uri} can't be opened where a worker runs ({socket.gethostname()})"
            ):
                self._opened = (now, lance.dataset(self.uri, storage_options=self.storage_options))
        return self._opened[1]

    def _pending(self, dataset: Any, fragment: Any) -> RowIds:
        pending = all_of(self.stage.todo, self.where)
        scanner = dataset.scanner(columns=[], filter=pending, with_row_id=True, fragments=[fragment])
        row_ids: RowIds = scanner.to_table()["_rowid"].to_numpy()
        if self.only is not None:
            row_ids = row_ids[np.isin(row_ids, self.only)]
        earlier = self.done.get(fragment.fragment_id)
        return row_ids if earlier is None else row_ids[~np.isin(row_ids, earlier)]


_set_up: dict[str, Stage] = {}
"""Run -> stage that this worker process has set up; at most one."""
_setting_up = threading.Lock()


def run(
    catalog: Snapshot,
    stage: Stage,
    engine: Engine | None = None,
    where: str | None = None,
    on_progress: Callable[[int], object] | None = None,
    only: RowIds | None = None,
) -> int:
    """See `Catalog.backfill`. `only`: ids of the rows to process."""
    engine = engine or LocalEngine()
    catalog.refresh()
    catalog.check_columns(stage.reads)
    catalog.add_columns(stage.writes)
    # An invalid filter fails here, with a one-line error.
    catalog.count(all_of(stage.todo, where))
    elsewhere = not engine.shares_memory
    # A worker may run in another folder.
    uri = catalog.uri if "://" in catalog.uri else str(Path(catalog.uri).absolute())
    report = None if elsewhere else on_progress
    work = FragmentWork(uri, catalog.storage_options, stage, where, report, only, elsewhere=elsewhere)
    fragment_ids = [fragment.fragment_id for fragment in catalog.dataset.get_fragments()]
    # Parallel runs start at different fragments, so that they share the work and don't repeat it.
    start = random.randrange(len(fragment_ids)) if fragment_ids else 0
    fragment_ids = fragment_ids[start:] + fragment_ids[:start]

    try:
        return _run(catalog, work, engine, fragment_ids, on_progress)
    finally:
        engine.close()


def _run(
    catalog: Snapshot,
    work: FragmentWork,
    engine: Engine,
    fragment_ids: list[int],
    on_progress: Callable[[int], object] | None,
) -> int:
    rows = 0
    while fragment_ids:
        again: list[int] = []
        waiting: list[Slice] = []
        committed_at = time.monotonic()
        work.reopen()
        if not work.elsewhere:
            work.setup()
        try:
            with closing(_results(work, engine, fragment_ids)) as results:
                for made in results:
                    if made is None:
                        continue
                    waiting.append(made)
                    if made.counted is not None:
                        assert isinstance(work.stage, Counting)
                        work.stage.add_counts(made.counted)
                    if on_progress and work.elsewhere:
                        on_progress(len(made.row_ids))
                    if made.failure:
                        raise made.failure
                    if time.monotonic() - committed_at > COMMIT_SECONDS:
                        rows += _land(catalog, waiting, work, again, on_progress)
                        waiting, committed_at = [], time.monotonic()
        finally:
            # Keep finished work, even if the stage raises an error.
            rows += _land(catalog, waiting, work, again, on_progress)
        fragment_ids = again
    return rows


def _results(work: FragmentWork, engine: Engine, fragment_ids: list[int]) -> Generator[Slice | None]:
    """Slices in the engine's order. For a Preparing stage in this process, another thread writes a slice while the
    model runs on the next. The model stays on this thread: on another thread torch is a quarter slower on a CPU.
    """
    here = isinstance(engine, LocalEngine) and engine.shares_memory and engine.workers == 1
    if not here or not isinstance(work.stage, Preparing):
        yield from engine.map(work, fragment_ids)
        return
    failure: BaseException | None = None
    writing: Future[Slice] | None = None
    with ThreadPoolExecutor(1, "write") as writer:
        for fragment_id in fragment_ids:
            computing, computed = work.compute(fragment_id), None
            try:
                while True:
                    next(computing)
                    if writing and writing.done():
                        yield writing.result()
                        writing = None
            except StopIteration as end:
                computed = end.value
            except GeneratorExit:
                raise
            except BaseException as error:
                failure = error  # raised after the slice that is being written
            if writing:
                yield writing.result()
                writing = None
            if failure:
                raise failure
            if computed:
                writing = writer.submit(work.write, computed)
        if writing:
            yield writing.result()


def run_shown(catalog: Snapshot, stage: Stage, where: str | None = None, engine: Engine | None = None) -> int:
    """`Catalog.backfill` with a progress bar."""
    catalog.must_be_newest("filled")
    catalog.add_columns(stage.writes)
    began = time.monotonic()

    def note() -> None:
        if isinstance(stage, Preparing) and stage.busy_s:
            bar.note(f"model busy {stage.busy_s / (time.monotonic() - began):.0%}")

    with progress(stage.name, catalog.count(all_of(stage.todo, where))) as bar:
        try:
            with every(NOTE_SECONDS, note):
                return run(catalog, stage, engine, where, bar.advance)
        finally:
            note()


def _land(
    catalog: Snapshot,
    waiting: list[Slice],
    work: FragmentWork,
    again: list[int],
    on_progress: Callable[[int], object] | None,
) -> int:
    """Commit slices; returns the number of committed rows, and appends fragments with work left to `again`."""
    landed, lost = commit(catalog, waiting)
    for made in landed:
        if not made.finished:
            earlier = work.done.get(made.fragment_id, np.empty(0, np.uint64))
            work.done[made.fragment_id] = np.concatenate([earlier, made.row_ids])
            again.append(made.fragment_id)
    for made in lost:
        again.append(made.fragment_id)
        if on_progress:
            on_progress(-len(made.row_ids))
    return sum(len(made.row_ids) for made in landed)
