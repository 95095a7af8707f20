"""Fetch: download `image_url` and store the image with its sizes and hashes, or a status that says why not."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from commoncanvas.catalog.fetching.addresses import ALLOWING
from commoncanvas.catalog.fetching.stage import MORE, PRIVATE, FetchStage
from commoncanvas.catalog.repeated import say_repeated
from commoncanvas.catalog.status_counts import status_counts
from commoncanvas.core.console import Printed, progress, say
from commoncanvas.core.tables import count_table
from commoncanvas.core.text import counted
from commoncanvas.engine import Engine, RayEngine, engine_of, every
from commoncanvas.options.fetch import DEFAULTS, FetchOptions
from commoncanvas.options.retry import statuses_to_retry
from commoncanvas.table.fetch_status import LOOKS_TAKEN_DOWN, STATUSES, TAKEN_DOWN
from commoncanvas.table.removal import remove_reuploads
from commoncanvas.table.reuploads import say_lookalikes
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones

if TYPE_CHECKING:
    from rich.console import RenderableType

NOTE_SECONDS = 0.5
DONE = ("ok", TAKEN_DOWN, LOOKS_TAKEN_DOWN)
"""Statuses that don't count as failures."""
FRAGMENTS_AT_ONCE = 3
"""While one fragment waits for its last slow images, the others continue."""


@dataclass(frozen=True, repr=False)
class FetchReport(Printed):
    """Result of a fetch: `rows` tried in `seconds`; `bytes` came over the network. `statuses` counts all rows that
    match `where`, after the fetch. `failure` says what to do if no image was fetched; None if one was.
    """

    rows: int
    seconds: float
    statuses: dict[str, int]
    bytes: int = 0
    failure: str | None = None

    @property
    def images_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def megabytes_per_s(self) -> float:
        return self.bytes / 1e6 / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "images_per_s": self.images_per_s, "megabytes_per_s": self.megabytes_per_s}

    def render(self) -> RenderableType:
        """What the terminal shows: images per second, MB per second for downloads, and the statuses."""
        from rich.console import Group
        from rich.text import Text

        rate = f"{counted(self.rows, 'images')} in {self.seconds:,.1f} s ({self.images_per_s:,.0f} images/s"
        rate += f", {self.megabytes_per_s:,.1f} MB/s)" if self.bytes else ")"
        statuses = count_table("in the catalog", self.statuses, sum(self.statuses.values()))
        return Group(Text(rate), statuses or Text("no image in the catalog"))


def fetch(
    catalog: Catalog | str | Path,
    options: FetchOptions = DEFAULTS,
    *,
    where: str | None = None,
    retry: Sequence[str] = (),
    engine: Engine | str = "local",
) -> FetchReport:
    """Fetch the rows that have no `fetch_status` yet, rows whose status is in `retry` (`failed` means all but ok,
    taken_down and looks_taken_down), and rows that were refused earlier but are allowed now.

    Each image is scaled down and stored without metadata, as `options` say. If the catalog has the column
    `image_url_2`, it is the second choice: it is used if `image_url` fails or gives another file than the row states
    (`stated_bytes`, `stated_md5`). With `engine` "ray", each worker learns on its own when a host asks for a pause.
    Images of local sources are then read on the worker's machine.

    A file that was taken down is never stored again, under any id: its row gets the status `taken_down`. An image that
    looks like one gets `looks_taken_down`, and is named. If `options` allow such images, they are stored, even if an
    earlier fetch refused them.

    After a crash, run it again: it fetches the rest. Raises CatalogError for invalid arguments, EngineError.
    """
    chosen = [*retry, LOOKS_TAKEN_DOWN] if options.allow_lookalikes else retry
    stage = FetchStage(options, statuses_to_retry(chosen, "fetch", STATUSES, DONE))
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    stones = Tombstones(catalog.uri, catalog.storage_options)
    remove_reuploads(catalog)  # a killed run may have stored a copy of an image that was taken down since
    stones.refresh()
    before = len(stones.table)
    stage.stones = stones
    engine = _engine(engine, stage)
    stage.more = [name for name in MORE if name in catalog.schema.names]
    pending = all_of(stage.todo, where)
    began = time.monotonic()
    with progress("fetch", catalog.count(pending)) as bar:
        try:
            with every(NOTE_SECONDS, lambda: bar.note(str(stage.tally))), _interruptible(stage):
                rows = catalog.backfill(stage, engine=engine, where=where, on_progress=bar.advance)
        finally:
            tally = stage.tally
            bar.note(str(tally) if tally.rows else "")
            stage.close()
            stones.refresh()
            if len(stones.table) > before:
                remove_reuploads(catalog)  # this run may have stored a copy before it saw the takedown
    seconds = time.monotonic() - began
    if len(stones.table):
        held = catalog.table(["image_id"], all_of(f"fetch_status = '{LOOKS_TAKEN_DOWN}'", where))
        say_lookalikes(catalog.uri, held["image_id"].to_pylist())
    refused = 0 if options.allow_private else catalog.count(all_of(PRIVATE, where))
    if refused:
        say(_private(refused), title="fetch:")
    if rows:
        say_repeated(catalog)
    statuses = status_counts(catalog, "fetch_status", where, missing="pending")
    tried = tally.statuses or statuses
    return FetchReport(rows, seconds, statuses, tally.bytes, _failure(catalog.uri, tried, statuses, refused))


def _private(refused: int) -> str:
    return (
        f"{counted(refused, 'rows')} {'was' if refused == 1 else 'were'} refused: the address belongs to a private "
        f"network or to this machine; if it is your own server, run the command again with {ALLOWING}"
    )


def _failure(uri: str, tried: Mapping[str, int], statuses: Mapping[str, int], refused: int) -> str | None:
    """What to do if no row in `statuses` has an image, or if every row that was `tried` was `refused`."""
    if tried and {*tried} == {"refused"} and tried["refused"] <= refused:
        return f"no image was fetched: {_private(refused)}"
    if not statuses or {*statuses} & {*DONE}:
        return None
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.items())
    return (
        f"no image was fetched ({counts}); to see why: "
        f"commoncanvas catalog show --catalog {shlex.quote(uri)} --where \"fetch_status != 'ok'\""
    )


def _engine(engine: Engine | str, stage: FetchStage) -> Engine:
    """Make the engine by its name, and divide the stage's options among its workers."""
    if engine != "ray":
        return engine_of(engine, at_once=FRAGMENTS_AT_ONCE)
    options = stage.options
    most = min(options.connections, options.per_host)
    made = RayEngine(min(options.workers or most, most), at_once=FRAGMENTS_AT_ONCE)
    if made.workers == most < min(options.workers or made.room, made.room):
        say(
            f"fetch: {most} workers, but the cluster has {made.room} CPUs; to use more, raise --connections and "
            "--per-host"
        )
    stage.options = replace(
        options,
        workers=1,
        connections=options.connections // made.workers,
        per_host=options.per_host // made.workers,
        buffer_bytes=max(options.max_bytes, options.buffer_bytes // made.workers),
    )
    return made


@contextmanager
def _interruptible(stage: FetchStage) -> Iterator[None]:
    """Let Ctrl-C cancel the engine's downloads; otherwise it waits for them, a minute or more."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        stage.stop()
        handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
