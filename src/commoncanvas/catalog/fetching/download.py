"""One download: redirects, sizes, times and answers, all of them limited."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
from yarl import URL

from commoncanvas import __version__
from commoncanvas.catalog.fetching.addresses import GuardedResolver, GuardedSockets, RefusedAddress
from commoncanvas.catalog.fetching.status import FetchError, http_status, too_large

USER_AGENT = (
    f"commoncanvas/{__version__} (collects openly licensed images, with credit, for open image models)"
)
MAX_REDIRECTS = 5
MAX_HEADER_BYTES = 8190
"""Of one response header, and of the status line."""
MAX_HEADERS = 128
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Limits:
    """What one download may cost. `timeout_s` is for all of it, `idle_s` for each wait for more bytes."""

    timeout_s: float = 60.0
    idle_s: float = 20.0
    connect_s: float = 15.0
    max_bytes: int = 100_000_000


def open_session(limits: Limits, allow_private: bool) -> aiohttp.ClientSession:
    """A session that connects to no address that is refused, keeps no cookies, reads no proxy from the environment."""
    return aiohttp.ClientSession(
        # aiohttp's own limit of connections is off, since waiting for it would count as time-out.
        connector=aiohttp.TCPConnector(
            limit=0,
            resolver=GuardedResolver(allow_private),
            socket_factory=GuardedSockets(allow_private),
            ttl_dns_cache=300,
        ),
        headers={"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.idle_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
    )


async def download(session: aiohttp.ClientSession, url: str, limits: Limits) -> bytes:
    """The bytes at `url`, after at most MAX_REDIRECTS redirects. Raises FetchError."""
    try:
        async with asyncio.timeout(limits.timeout_s):
            return await _follow(session, url, limits)
    except TimeoutError as error:
        raise FetchError("timeout", f"no complete answer in {limits.timeout_s:g} s") from error


async def _follow(session: aiohttp.ClientSession, url: str, limits: Limits) -> bytes:
    try:
        # By hand, since what a redirect leads to is as untrusted as what the metadata says.
        at = _web_url(URL(url))
        for _ in range(MAX_REDIRECTS + 1):
            async with session.get(at, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return await _body(response, limits.max_bytes)
                at = _web_url(at.join(URL(location)))
        raise FetchError("connection", f"more than {MAX_REDIRECTS} redirects")
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise FetchError("unsupported_url", f"{url} is not a URL that can be fetched: {error}") from error
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, RefusedAddress):
            raise FetchError("refused", str(error.os_error)) from error
        raise FetchError("connection", f"{type(error).__name__}: {error}") from error
    except TimeoutError as error:
        raise FetchError("timeout", f"no byte in {limits.idle_s:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise FetchError("connection", f"{type(error).__name__}: {error}") from error
    except ValueError as error:  # yarl's and the IDNA codec's word for hosts and ports that are none
        raise FetchError("unsupported_url", f"{url} is not a URL that can be fetched: {error}") from error


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        raise FetchError(http_status(response.status), f"HTTP {response.status} {response.reason or ''}")
    # Nothing else was asked for, and what a few compressed bytes would become is anyone's guess.
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise FetchError("refused", f"the answer is compressed ({encoding}), which was not asked for")
    if (response.content_length or 0) > max_bytes:
        raise too_large(response.content_length or 0, max_bytes)
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > max_bytes:
            raise too_large(len(chunks), max_bytes)
    return bytes(chunks)


def _web_url(url: URL) -> URL:
    if url.scheme not in ("http", "https") or not url.host:
        raise FetchError("unsupported_url", f"{url} is not a web address")
    return url
