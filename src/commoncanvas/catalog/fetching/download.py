"""One download, with limits on redirects, size and time, and with retries."""

from __future__ import annotations

import asyncio
import re

import aiohttp
from yarl import URL

from commoncanvas.catalog.fetching.addresses import GuardedResolver, GuardedSockets, RefusedAddress
from commoncanvas.catalog.fetching.budget import Budget, Hold
from commoncanvas.catalog.fetching.hosts import LONGEST_WAIT_S, Hosts, backoff, retry_after
from commoncanvas.catalog.fetching.opt_outs import opts_out
from commoncanvas.catalog.fetching.placeholders import stands_in
from commoncanvas.catalog.fetching.urls import redirected, web_url
from commoncanvas.core.version import __version__
from commoncanvas.options.fetch import FetchOptions
from commoncanvas.table.fetch_status import FetchError, http_status, too_large

PURPOSE = "collects openly licensed images, with credit, for open image models"
MAX_REDIRECTS = 5
MAX_HEADER_BYTES = 8190
"""Limit for one response header, and for the status line."""
MAX_HEADERS = 128
FIRST_BYTES = 1 << 18
"""Bytes reserved first for a body of unknown length."""
_REDIRECTS = (301, 302, 303, 307, 308)
# S3 still names `aws-chunked`, the encoding of an upload, but sends the plain object.
_UNCHANGED = ("", "identity", "aws-chunked")


def user_agent(contact: str | None = None) -> str:
    """The User-Agent header: the program, its purpose, and `contact` (a mail address or URL) for questions."""
    return f"commoncanvas/{__version__} ({f'+{contact}; ' if contact else ''}{PURPOSE})"


class Downloader:
    """Downloads in one event loop and keeps connections alive. It never connects to a refused address, keeps no cookies
    and ignores proxy settings of the environment.
    """

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._hosts = Hosts(options.per_host)
        self._slots = asyncio.Semaphore(options.connections)
        self.budget = Budget(options.buffer_bytes)
        self._session = aiohttp.ClientSession(
            # aiohttp's connection limit is off: a wait for it would count towards the timeout.
            connector=aiohttp.TCPConnector(
                limit=0,
                resolver=GuardedResolver(options.allow_private),
                socket_factory=GuardedSockets(options.allow_private),
                ttl_dns_cache=300,
            ),
            headers={
                "User-Agent": user_agent(options.contact),
                "Accept": "image/*",
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=options.connect_s, sock_read=options.idle_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, url: str, hold: Hold) -> bytes:
        """Return the bytes at `url`; retry if that may help. `hold` reserves the memory. Raises FetchError."""
        tries = 0
        while True:
            try:
                return await self._turns(url, hold)
            except FetchError as error:
                hold.release()
                wait = max(backoff(tries), error.wait_s or 0.0)
                if not error.transient or tries >= self._options.retries or wait > LONGEST_WAIT_S:
                    raise
            tries += 1
            await asyncio.sleep(wait)

    async def _turns(self, url: str, hold: Hold) -> bytes:
        """One try. It follows redirects itself, since a redirect is untrusted and may lead to another host."""
        left_s = self._options.timeout_s
        for hop in range(MAX_REDIRECTS + 1):
            at = _web_url(url)
            if stands_in(at, redirected=hop > 0):
                raise FetchError("not_found", f"{at} is a placeholder for a removed image")
            # Take the host's slot before a global one: downloads that wait for a slow host then block no others.
            async with self._hosts.turn(at.raw_host or ""), self._slots:
                answer, left_s = await self._timed(at, hold, left_s)
            if isinstance(answer, bytes):
                return answer
            url = redirected(url, answer)
        raise FetchError("connection", f"more than {MAX_REDIRECTS} redirects")

    async def _timed(self, at: URL, hold: Hold, seconds: float) -> tuple[bytes | str, float]:
        """The response of one host, and how many of `seconds` are left."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)) as clock:
                answer = await self._ask(at, hold, clock)
                end = clock.when()
                assert end is not None
                return answer, end - asyncio.get_running_loop().time()
        except TimeoutError as error:
            message = f"no complete response within {self._options.timeout_s:g} s"
            raise FetchError("timeout", message, transient=True) from error

    async def _ask(self, at: URL, hold: Hold, clock: asyncio.Timeout) -> bytes | str:
        """The body as bytes, or the `Location` of a redirect as text."""
        try:
            async with self._session.get(at, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location is not None:
                    return location
                return await self._body(response, hold, clock)
        except aiohttp.InvalidURL as error:
            raise _no_url(str(at), error) from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddress):
                raise FetchError("refused", str(error.os_error)) from error
            raise _connection(error) from error
        except TimeoutError as error:
            raise FetchError("timeout", f"no data for {self._options.idle_s:g} s", transient=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _connection(error) from error
        except ValueError as error:  # yarl and the IDNA codec raise it for invalid hosts and ports
            raise _no_url(str(at), error) from error

    async def _body(self, response: aiohttp.ClientResponse, hold: Hold, clock: asyncio.Timeout) -> bytes:
        if response.status not in (200, 203) and not _is_whole(response):
            raise FetchError(
                http_status(response.status),
                f"HTTP {response.status} {response.reason or ''}",
                transient=response.status in (429, 503),
                busy=response.status in (429, 503),
                wait_s=retry_after(response.headers.get("Retry-After")),
            )
        directive = opts_out(response.headers.getall("X-Robots-Tag", []))
        if directive:
            raise FetchError("opted_out", f"the server sent X-Robots-Tag: {directive}")
        # We asked for uncompressed data; a few compressed bytes can unpack to gigabytes.
        encodings = ",".join(response.headers.getall("Content-Encoding", [])).lower().split(",")
        foreign = [name.strip() for name in encodings if name.strip() not in _UNCHANGED]
        if foreign:
            raise FetchError(
                "refused",
                f"the response is compressed ({', '.join(foreign)}), although we asked for plain data",
            )
        max_bytes, stated = self._options.max_bytes, response.content_length
        if (stated or 0) > max_bytes:
            raise too_large(stated or 0, max_bytes)
        await _wait_for(hold, stated or min(FIRST_BYTES, max_bytes), clock)
        chunks = bytearray()
        async for chunk in response.content.iter_any():
            if len(chunks) + len(chunk) > max_bytes:
                raise too_large(len(chunks) + len(chunk), max_bytes)
            if len(chunks) + len(chunk) > hold.bytes:
                await _wait_for(hold, min(2 * hold.bytes + len(chunk), max_bytes), clock)
            chunks += chunk
        return bytes(chunks)


async def _wait_for(hold: Hold, size: int, clock: asyncio.Timeout) -> None:
    """Reserve `size` bytes of the budget. The wait for them does not count towards the server's timeout."""
    if hold.fits(size):
        return await hold.grow(size)
    loop, end = asyncio.get_running_loop(), clock.when()
    began = loop.time()
    clock.reschedule(None)
    await hold.grow(size)
    clock.reschedule(None if end is None else end + loop.time() - began)
    return None


def _is_whole(response: aiohttp.ClientResponse) -> bool:
    """Whether an unrequested 206 (partial content) still has all bytes of the file."""
    stated = re.fullmatch(r"bytes 0-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    return response.status == 206 and stated is not None and int(stated[1]) + 1 == int(stated[2])


def _connection(error: Exception) -> FetchError:
    return FetchError("connection", f"{type(error).__name__}: {error}", transient=True)


def _web_url(url: str) -> URL:
    try:
        return web_url(url)
    except ValueError as error:
        raise _no_url(url, error) from error


def _no_url(url: str, error: Exception) -> FetchError:
    return FetchError("unsupported_url", f"{url} can't be fetched: {error}")
