"""Fetch: `image_url` becomes the stored image, its sizes and hashes, or a status that says why not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commoncanvas.catalog.fetching.download import USER_AGENT, Limits
from commoncanvas.catalog.fetching.stage import FetchStage
from commoncanvas.catalog.fetching.status import STATUSES, http_status
from commoncanvas.catalog.image import ANIMATED, FORMATS, MAX_PIXELS, SIDES, Animated, Format, Side
from commoncanvas.catalog.table import Catalog
from commoncanvas.console import progress
from commoncanvas.errors import CatalogError

__all__ = ["STATUSES", "USER_AGENT", "FetchReport", "FetchStage", "fetch", "http_status"]


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
    idle_s: float = 20.0,
    max_bytes: int = 100_000_000,
    max_pixels: int = MAX_PIXELS,
    animated: Animated = "first",
    allow_private: bool = False,
) -> FetchReport:
    """Fetch the rows that have no `fetch_status` yet, and those whose status is in `retry` (`failed`: all but
    ok).

    The `side` of each image comes down to `size` pixels; it is stored as `format` without any metadata.
    Metadata may be anybody's, so addresses of private networks are refused unless `allow_private` (for a server of
    one's own), and local files but for rows of local sources; of an `animated` image the first frame is stored,
    unless it is to be refused. Killed and run again, it does what is left. Raises CatalogError for arguments that
    mean nothing.
    """
    stage = FetchStage(
        _checked("size", size, range(1, 65536)),
        _checked("side", side, SIDES),
        _checked("format", format, FORMATS),
        _checked("quality", quality, range(1, 101)),
        _retries(retry),
        workers,
        limits=Limits(timeout_s=timeout_s, idle_s=idle_s, max_bytes=max_bytes),
        max_pixels=max_pixels,
        animated=_checked("animated", animated, ANIMATED),
        allow_private=allow_private,
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
