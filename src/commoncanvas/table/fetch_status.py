"""What `fetch_status` can say, and the error that carries it."""

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
"""Everything that `fetch_status` can say. `refused`: what the metadata or the server asked of us is not safe to do.
`changed`: it is not the file that the list states.
`unsupported_format`: an image, but of a kind that can't be read here. `truncated`: an image that is damaged or cut
short. `too_many_pixels`: also too many bytes when it is decoded, or a side too long for the stored format.
`opted_out`: the server says that no model should learn from it. `taken_down`: the file is one that was taken down;
`looks_taken_down`: its perceptual hash says that it is a copy of one. `internal`: a fault of ours, which cost one row.
"""


class FetchError(Exception):
    """Bytes that can't be had; `status` is one of STATUSES.

    `transient`: asking once more may help, after `wait_s` if the server said so. `busy`: the server asks for less.
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
    """The status that an HTTP answer without the whole file means; as http_5xx what HTTP knows no class for."""
    if code in (404, 410):
        return "not_found"
    if code in (401, 403, 451):
        return "forbidden"
    if code == 206:
        return "truncated"
    return {2: "http_2xx", 3: "http_3xx", 4: "http_4xx"}.get(code // 100, "http_5xx")


def too_large(size: int, max_bytes: int) -> FetchError:
    return FetchError("too_large", f"{size:,} bytes, more than {max_bytes:,}")
