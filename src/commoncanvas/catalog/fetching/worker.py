"""The long-lived parts of a fetch: one event loop with its connections, and the decoding processes."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from commoncanvas.catalog.fetching.download import Downloader
from commoncanvas.catalog.local_images import read_local
from commoncanvas.core.errors import DecoderError, ImageError
from commoncanvas.core.text import one_line
from commoncanvas.images.decoders import Decoders
from commoncanvas.images.header import READS, WEB_FORMATS
from commoncanvas.images.tasks import Decode
from commoncanvas.options.fetch import FetchOptions
from commoncanvas.table.fetch_status import FetchError
from commoncanvas.table.reuploads import TakenDown

Row = dict[str, Any]
ELSEWHERE = ("not_found", "forbidden", "connection", "changed")
"""Statuses after which a row's other URL is tried."""
DNS_THREADS = 16
EXIT_SECONDS = 5.0
"""How long Python's exit waits for a worker that was not closed."""


@dataclass(frozen=True)
class Place:
    """Where a row's image is: at `url`, where the file must match the `stated_` values, else at `second_url`."""

    source: str
    url: str | None
    second_url: str | None = None
    stated_bytes: int | None = None
    stated_md5: str | None = None
    stated_rotation: int | None = None

    def check(self, data: bytes) -> None:
        """Raise FetchError unless `data` matches the size and MD5 that the source states."""
        if self.stated_bytes is not None and len(data) != self.stated_bytes:
            raise FetchError("changed", f"{len(data):,} bytes, but the source states {self.stated_bytes:,}")
        if self.stated_md5 is not None:
            found = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if found != self.stated_md5.lower():
                raise FetchError("changed", f"its MD5 is {found}, but the source states {self.stated_md5}")


@dataclass
class Tally:
    """Counts of a run so far."""

    statuses: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self) -> Tally:
        """Return the counts so far and reset them."""
        taken = Tally(self.statuses.copy(), self.bytes)
        self.statuses.clear()
        self.bytes = 0
        return taken

    def add(self, other: Tally) -> None:
        self.statuses += other.statuses
        self.bytes += other.bytes

    @property
    def rows(self) -> int:
        return self.statuses.total()

    @property
    def megabytes_per_s(self) -> float:
        return self.bytes / 1e6 / max(time.monotonic() - self.began, 1e-9)

    def __str__(self) -> str:
        shares = (
            f"{count / self.rows:.1%} {status}" for status, count in self.statuses.most_common(4) if self.rows
        )
        return " · ".join((f"{self.megabytes_per_s:,.1f} MB/s", *shares))


class Worker:
    """Handles many batches at once, from any thread: it downloads some rows while it decodes others."""

    def __init__(self, options: FetchOptions, tally: Tally) -> None:
        self.tally = tally
        self.taken_down: TakenDown | None = None
        self._options = options
        self._stopped = False
        count = options.workers or os.cpu_count() or 1
        decode = Decode(
            options.size, options.side, options.format, options.quality, options.max_pixels, options.animated
        )
        self._decoders = Decoders(decode, count)
        self._waiting = ThreadPoolExecutor(count, "decode")
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(DNS_THREADS, "dns"))
        # Its own loop: the caller's may be running already, as in a notebook.
        self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)
        self._downloader: Downloader = self._call(self._open()).result()

    def rows(self, places: Sequence[Place]) -> list[Row]:
        """One row per place, in the same order. Each has its columns and a status, even after a failure.

        Raises CancelledError after `stop`, DecoderError if decoding is impossible.
        """
        if self._stopped:
            raise CancelledError
        running: Future[list[Row]] = self._call(self._gather(places))
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def take_tally(self) -> Tally:
        """Take the counts on the event loop, where they are made, so that none is lost."""

        async def take() -> Tally:
            return self.tally.take()

        taken: Tally = self._call(take()).result()
        return taken

    def stop(self) -> None:
        self._stopped = True
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def close(self) -> None:
        atexit.unregister(self._at_exit)
        if self._thread.is_alive():
            self._call(self._close()).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._waiting.shutdown(wait=False, cancel_futures=True)
        self._decoders.close()
        self._waiting.shutdown()

    def _at_exit(self) -> None:
        """End tasks and connections at exit; otherwise Python warns about each of them."""
        with suppress(Exception):
            self._call(self._end_tasks()).result(EXIT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(EXIT_SECONDS)

    def _call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _open(self) -> Downloader:
        return Downloader(self._options)

    async def _close(self) -> None:
        await self._end_tasks()
        await self._loop.shutdown_default_executor()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._downloader.close()

    async def _gather(self, places: Sequence[Place]) -> list[Row]:
        return list(await asyncio.gather(*map(self._row, places)))

    async def _row(self, place: Place) -> Row:
        row = await self._one(place)
        if row["fetch_status"] in ELSEWHERE and place.second_url:
            second = await self._one(Place(place.source, place.second_url))
            # If both URLs fail alike, the row keeps the first URL's error: that is the one to repair.
            row = row if second["fetch_status"] in ELSEWHERE else second
        self.tally.statuses[row["fetch_status"]] += 1
        return row

    async def _one(self, place: Place) -> Row:
        hold = self._downloader.budget.hold()
        try:
            if place.url is not None and is_web(place.url):
                data = await self._downloader.get(place.url, hold)
                self.tally.bytes += len(data)
                return await self._decode(self._image, place, data, WEB_FORMATS)
            return await self._decode(self._local_image, place)
        except DecoderError:
            raise
        except (FetchError, ImageError) as error:
            return {"fetch_status": error.status, "fetch_error": one_line(error)}
        except Exception as error:
            # An unexpected error in one row of millions must not end every run.
            return {
                "fetch_status": "internal",
                "fetch_error": one_line(f"{type(error).__name__}: {error}"),
            }
        finally:
            hold.release()

    def _decode(self, function: Callable[..., Row], *arguments: Any) -> asyncio.Future[Row]:
        return self._loop.run_in_executor(self._waiting, function, *arguments)

    def _local_image(self, place: Place) -> Row:
        return self._image(place, read_local(place.url, place.source, self._options.max_bytes), READS)

    def _image(self, place: Place, data: bytes, formats: Sequence[str]) -> Row:
        place.check(data)
        row = self._decoders(data, formats, rotation=place.stated_rotation or 0)
        held = self.taken_down.refusal(row["sha256"], row["image"]) if self.taken_down else None
        if held is not None:
            raise FetchError(*held)
        return row


def is_web(url: str) -> bool:
    """Whether `url` is fetched over HTTP. False for an invalid URL."""
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False
