"""Options of `catalog fetch`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from commoncanvas.core.errors import CatalogError

Side = Literal["longest", "shortest"]
Format = Literal["jpeg", "png", "webp"]
Animated = Literal["first", "refuse"]

_ALLOWED: dict[str, Sequence[Any]] = {
    "size": range(1, 65_536),
    "side": get_args(Side),
    "format": get_args(Format),
    "quality": range(1, 101),
    "workers": range(1, 1025),
    "animated": get_args(Animated),
    "connections": range(1, 10_001),
    "per_host": range(1, 10_001),
    "retries": range(101),
}


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How images are fetched and stored. Raises CatalogError for a value that is not allowed.

    URLs in metadata are not trusted: addresses of private networks are refused unless `allow_private`, and local files
    are refused except for local sources. On a Ray cluster the workers share `connections` and `per_host`, which also
    limit their number.

    Attributes:
        size: longest (or shortest) side in pixels; raster images are never enlarged.
        side: which side `size` limits.
        format: format of the stored images.
        quality: quality of JPEG and WebP, 1 to 100.
        workers: processes that decode images, or Ray workers of one CPU each; default: all processors.
        animated: store the first frame of an animated image, or refuse it.
        allow_private: allow URLs in private networks and on this machine, to use a server of your own.
        connections: most downloads at the same time, of all workers together.
        per_host: most downloads at the same time from one host, of all workers together.
        retries: how often to try again after a time-out, a lost connection, HTTP 429 or 503.
        contact: mail address or URL sent to servers, so that their owners can contact you.
        allow_lookalikes: also store images that were refused because they look like images that were taken down.
        timeout_s: most seconds for one try of a download.
        idle_s: most seconds without a byte.
        connect_s: most seconds until a connection.
        max_bytes: largest file.
        max_pixels: largest image, in pixels of the file.
        buffer_bytes: most bytes of all files in memory that are not decoded yet.
    """

    size: int = 512
    side: Side = "longest"
    format: Format = "jpeg"
    quality: int = 95
    workers: int | None = None
    animated: Animated = "first"
    allow_private: bool = False
    connections: int = 32
    per_host: int = 16
    retries: int = 2
    contact: str | None = None
    allow_lookalikes: bool = False
    # Not on the command line:
    timeout_s: float = 60.0
    idle_s: float = 20.0
    connect_s: float = 15.0
    max_bytes: int = 100_000_000
    max_pixels: int = 200_000_000
    buffer_bytes: int = 512_000_000

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if value not in allowed and (name, value) != ("workers", None):
                choices = (
                    f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(allowed)
                )
                raise CatalogError(f"{name.replace('_', '-')} {value!r} is not one of: {choices}")
        if self.contact is not None and not re.fullmatch(r"[!-'*-~]{3,200}", self.contact):
            raise CatalogError(
                f"contact {self.contact!r} is not a mail address or URL; server owners need it to reach you"
            )


DEFAULTS = FetchOptions()
