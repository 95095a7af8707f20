"""The fetch stage: reads a batch of URLs, writes a batch of images with their sizes, hashes and statuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from commoncanvas.catalog.fetching.addresses import ALLOWING
from commoncanvas.catalog.fetching.worker import Place, Tally, Worker
from commoncanvas.options.fetch import DEFAULTS, FetchOptions
from commoncanvas.table.reuploads import TakenDown
from commoncanvas.table.schema import IMAGE, STATED
from commoncanvas.table.sql import all_of, listed
from commoncanvas.table.tombstones import Tombstones

EXIF = (pa.field("exif_camera", pa.string()), pa.field("exif_taken_at", pa.string()))
"""Columns for a photo's EXIF data. They never replace provenance columns."""
MORE = {"image_url_2": "second_url", **{field.name: field.name for field in STATED}}
"""Optional catalog column -> its field of Place."""
PRIVATE = f"fetch_status = 'refused' AND fetch_error LIKE '%{ALLOWING}%'"
"""SQL for the rows that were refused because `allow_private` was off."""
_ANIMATED = "fetch_status = 'refused' AND fetch_error LIKE 'an animated %'"
BATCH_SECONDS = 20.0
BATCH_ROWS = (256, 2048)
"""Lower and upper limit for the rows of a batch. A batch takes about BATCH_SECONDS: much longer than its slowest row,
but short enough that a crash loses little work.
"""


@dataclass
class FetchStage:
    """Fetches, decodes, resizes, hashes and encodes images. A bad image affects only its own row."""

    options: FetchOptions = DEFAULTS
    retry: Sequence[str] = ()
    """Statuses to try again."""
    more: Sequence[str] = ()
    """The columns of MORE that the catalog has."""
    stones: Tombstones | None = None
    """Tombstones of the catalog; each batch checks for new ones."""

    name = "fetch"
    writes = (*IMAGE, *EXIF)
    done_column = "fetch_status"

    def __post_init__(self) -> None:
        self._worker: Worker | None = None
        self.tally = Tally()
        self._batch_rows = BATCH_ROWS[0]

    @property
    def reads(self) -> tuple[str, ...]:
        return ("source", "image_url", *self.more)

    @property
    def batch_size(self) -> int:
        return self._batch_rows

    @property
    def todo(self) -> str:
        """Rows without a status, rows to `retry`, and refused rows that are allowed now."""
        again = [f"fetch_status IN ({listed(self.retry)})"] if self.retry else []
        again += [PRIVATE] if self.options.allow_private else []
        again += [_ANIMATED] if self.options.animated == "first" else []
        return " OR ".join(["fetch_status IS NULL", *map(all_of, again)])

    def setup(self) -> None:
        """Start the event loop and, when needed, the decoding processes; both live until `close`.

        Later calls only load new tombstones.
        """
        with _starting:
            if self._worker is None:
                self._worker = Worker(self.options, self.tally)
            if self.stones is not None and (self.stones.refresh() or self._worker.taken_down is None):
                self._worker.taken_down = TakenDown.of(self.stones, self.options.allow_lookalikes)

    def take_counts(self) -> Tally:
        return self._worker.take_tally() if self._worker else self.tally.take()

    def add_counts(self, counts: Tally) -> None:
        self.tally.add(counts)

    def stop(self) -> None:
        """Make all current and future batches raise CancelledError. Any thread may call it."""
        if self._worker:
            self._worker.stop()

    def close(self) -> None:
        """Close connections and end processes. A later batch starts new ones."""
        worker, self._worker = self._worker, None
        if worker:
            worker.close()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.setup()
        assert self._worker
        names = ["source", "url", *(MORE[name] for name in self.more)]
        columns = (batch[name].to_pylist() for name in self.reads)
        places = [Place(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
        began = time.monotonic()
        rows = self._worker.rows(places)
        pace = len(rows) / max(time.monotonic() - began, 1e-3)
        self._batch_rows = max(BATCH_ROWS[0], min(BATCH_ROWS[1], int(pace * BATCH_SECONDS)))
        return pa.RecordBatch.from_arrays(
            [pa.array([row.get(column.name) for row in rows], column.type) for column in self.writes],
            schema=pa.schema(self.writes),
        )


_starting = threading.Lock()
