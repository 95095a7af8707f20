"""The stage: a batch of URLs in, a batch of images with their sizes, hashes and statuses out."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pyarrow as pa

from commoncanvas.catalog.fetching.download import Limits, download, open_session
from commoncanvas.catalog.fetching.local import read_local
from commoncanvas.catalog.fetching.status import FetchError, one_line
from commoncanvas.catalog.image import (
    MAX_PIXELS,
    READS,
    WEB_FORMATS,
    Animated,
    Format,
    ImageError,
    Side,
    encode_image,
    load,
    phash,
)
from commoncanvas.catalog.schema import IMAGE

CAMERA = (pa.field("camera", pa.string()), pa.field("exif_taken_at", pa.string()))
"""What EXIF says of a photo; beside the provenance columns, never in their place."""


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
    limits: Limits = field(default_factory=Limits)
    max_pixels: int = MAX_PIXELS
    animated: Animated = "first"
    allow_private: bool = False

    name = "fetch"
    reads = ("source", "image_url")
    writes = (*IMAGE, *CAMERA)
    done_column = "fetch_status"
    batch_size = 256

    @property
    def todo(self) -> str:
        again = ", ".join(f"'{status}'" for status in self.retry)
        return "fetch_status IS NULL" + (f" OR fetch_status IN ({again})" if again else "")

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # In a thread of its own, since the caller may have a running event loop (a notebook does).
        with ThreadPoolExecutor(1) as thread:
            rows = thread.submit(
                asyncio.run, self._fetch(batch["source"].to_pylist(), batch["image_url"].to_pylist())
            ).result()
        return pa.RecordBatch.from_arrays(
            [pa.array([row.get(field.name) for row in rows], field.type) for field in self.writes],
            schema=pa.schema(self.writes),
        )

    async def _fetch(self, sources: Sequence[str], urls: Sequence[str | None]) -> list[dict[str, Any]]:
        workers = self.workers or os.cpu_count() or 1
        # One limit for both: what is fetched but not yet decoded waits in memory.
        limit = asyncio.Semaphore(max(self.connections, 2 * workers))
        with ThreadPoolExecutor(workers) as threads:
            async with open_session(self.limits, self.allow_private) as session:
                rows = (
                    self._row(source, url, session, threads, limit)
                    for source, url in zip(sources, urls, strict=True)
                )
                return await asyncio.gather(*rows)

    async def _row(
        self,
        source: str,
        url: str | None,
        session: aiohttp.ClientSession,
        threads: ThreadPoolExecutor,
        limit: asyncio.Semaphore,
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            async with limit:
                if url is not None and is_web(url):
                    data = await download(session, url, self.limits)
                    return await loop.run_in_executor(threads, self._process, data, WEB_FORMATS)
                return await loop.run_in_executor(threads, self._process_local, url, source)
        except (FetchError, ImageError) as error:
            return {"fetch_status": error.status, "fetch_error": one_line(error)}

    def _process_local(self, url: str | None, source: str) -> dict[str, Any]:
        return self._process(read_local(url, source, self.limits.max_bytes), READS)

    def _process(self, data: bytes, formats: Sequence[str]) -> dict[str, Any]:
        array, header = load(data, self.size, self.side, self.max_pixels, formats, self.animated)
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
            "camera": header.camera,
            "exif_taken_at": header.taken_at,
        }


def is_web(url: str) -> bool:
    """Whether `url` is to be fetched over HTTP; False for what is no URL at all."""
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False
