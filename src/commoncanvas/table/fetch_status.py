"""The values of `fetch_status`, and the error that carries one."""

from __future__ import annotations

from commoncanvas.core.redact import redacted

TAKEN_DOWN = "taken_down"
LOOKS_TAKEN_DOWN = "looks_taken_down"
STATUSES = (
    "ok",
    "not_found",
    "forbidden",
    "http_2xx",
    "http_3xx",
    "http_4xx",
    "http_5xx",
    "timeout",
    "connection",
    "too_large",
    "too_many_pixels",
    "not_an_image",
    "unsupported_format",
    "truncated",
    "changed",
    "unsupported_url",
    "refused",
    "opted_out",
    TAKEN_DOWN,
    LOOKS_TAKEN_DOWN,
    "internal",
)
"""All values of `fetch_status`. `refused`: the metadata or the server asks for something unsafe.
`changed`: the file differs from the one that the source states.
`unsupported_format`: an image in a format that we can't read. `truncated`: a damaged or incomplete image.
`too_many_pixels`: too many pixels, too many bytes after decoding, or a side too long for the stored format.
`opted_out`: the server says that no model may learn from it. `taken_down`: the file was taken down.
`looks_taken_down`: its perceptual hash matches an image that was taken down. `internal`: a bug in CommonCanvas.
"""


class FetchError(Exception):
    """Bytes that can't be fetched; `status` is one of STATUSES.

    `transient`: a retry may help, after `wait_s` seconds if the server gave a time. `busy`: the server asks for fewer
    requests.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        transient: bool = False,
        busy: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(redacted(message))
        self.status = status
        self.transient = transient
        self.busy = busy
        self.wait_s = wait_s


def http_status(code: int) -> str:
    """The status for an HTTP response without the complete file; http_5xx for codes outside HTTP's classes."""
    if code in (404, 410):
        return "not_found"
    if code in (401, 403, 451):
        return "forbidden"
    if code == 206:
        return "truncated"
    return {2: "http_2xx", 3: "http_3xx", 4: "http_4xx"}.get(code // 100, "http_5xx")


def too_large(size: int, max_bytes: int) -> FetchError:
    return FetchError("too_large", f"{size:,} bytes, more than {max_bytes:,}")
