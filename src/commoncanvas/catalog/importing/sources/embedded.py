"""Images that a source contains: they are checked, resized and hashed like images that `fetch` downloads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.source import SourceOptions
from commoncanvas.core.errors import ImageError, SourceError
from commoncanvas.core.text import one_line
from commoncanvas.images.decoders import Decoders
from commoncanvas.images.header import WEB_FORMATS
from commoncanvas.images.tasks import Store
from commoncanvas.table.report import Report

Pending = tuple[str, dict[str, Any], bytes | None]
"""(place in the input, row without its image, image file or None if it must still be fetched)"""
WAITING_BYTES = 256 << 20
"""Approximate limit for images that wait for a decoder."""


def image_bytes(value: Any) -> bytes | None:
    """The image file in a cell: bytes, a struct of bytes and path (as `datasets` stores images), or a list of one."""
    value = fields.single(value)
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) and value else None


def store_of(options: SourceOptions) -> Store:
    """How images are stored, from the options. The defaults are those of `fetch`."""
    return Store() if options.size is None else Store(size=options.size)


def with_images(pending: Iterable[Pending], store: Store, report: Report) -> Iterator[dict[str, Any]]:
    """Yield the rows in order, with stored images. A row with an invalid image is kept without it.

    One process per processor decodes. At most twice as many images are in memory, and about WAITING_BYTES. If the input
    states `original_width` and `original_height`, they are kept: the image may have been resized before.
    Raises DecoderError if no process can be started.
    """
    workers = os.cpu_count() or 1
    waiting: deque[tuple[str, dict[str, Any], Future[dict[str, Any]] | None, int]] = deque()
    held = 0
    broken: list[SourceError] = []
    decoders, threads = Decoders(store, workers), ThreadPoolExecutor(workers, "decode")
    try:
        for where, row, data in _until_broken(pending, broken):
            image = None if data is None else threads.submit(_columns, decoders, data)
            waiting.append((where, row, image, len(data or b"")))
            held += len(data or b"")
            del data
            while len(waiting) >= 2 * workers or held >= WAITING_BYTES:
                done = waiting.popleft()
                held -= done[3]
                yield _filled(*done[:3], report)
        while waiting:
            yield _filled(*waiting.popleft()[:3], report)
        if broken:
            raise broken[0]
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        decoders.close()
        threads.shutdown()


def _until_broken(pending: Iterable[Pending], broken: list[SourceError]) -> Iterator[Pending]:
    """Yield rows until the input becomes unreadable; the error goes to `broken`."""
    try:
        yield from pending
    except SourceError as error:
        broken.append(error)


def _columns(decoders: Decoders[dict[str, Any]], data: bytes) -> dict[str, Any]:
    try:
        return decoders(data, WEB_FORMATS)
    except ImageError as error:
        return {"fetch_status": error.status, "fetch_error": one_line(error)}


def _filled(
    where: str, row: dict[str, Any], image: Future[dict[str, Any]] | None, report: Report
) -> dict[str, Any]:
    if image is None:
        return row
    found = image.result()
    if found["fetch_status"] != "ok":
        report.remark(where, "kept without image", f"{found['fetch_status']}: {found['fetch_error'][:100]}")
    stated = {name: value for name, value in row.items() if value is not None}
    return {**row, **found, **{name: stated[name] for name in stated if name.startswith("original_")}}
