"""Limits per host: how many downloads run at once, when a host gets a pause, and how long to wait before a retry."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from commoncanvas.table.fetch_status import FetchError

BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
LONGEST_WAIT_S = 120.0
"""If a host asks for a longer pause, its rows fail instead of waiting; `retry` fetches them in a later run."""
FAILURES = 20
"""After this many failed downloads in a row a host counts as down for REST_S."""
REST_S = 60.0
REMEMBERED = 10_000


@dataclass
class Host:
    slots: asyncio.Semaphore
    users: int = 0
    ready_at: float = 0.0
    """Event-loop time before which no request is sent."""
    failures: int = 0
    closed: tuple[str, str] | None = None
    """Status and message that rows get until `ready_at`; they don't wait."""


class Hosts:
    """The state of each host. Used from one event loop."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._hosts: dict[str, Host] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a free slot of the host and for the end of its pause. Record how the download ends.

        Raises FetchError if the host is closed.
        """
        loop = asyncio.get_running_loop()
        host = self._host(name)
        host.users += 1
        try:
            async with host.slots:
                while (pause := host.ready_at - loop.time()) > 0:
                    if host.closed:
                        raise FetchError(*host.closed)
                    await asyncio.sleep(pause)
                host.closed = None
                try:
                    yield
                except FetchError as error:
                    _learn(host, error)
                    raise
                _learn(host, None)
        finally:
            host.users -= 1

    def _host(self, name: str) -> Host:
        if name not in self._hosts:
            if len(self._hosts) >= REMEMBERED:
                now = asyncio.get_running_loop().time()
                self._hosts = {
                    name: host for name, host in self._hosts.items() if host.users or host.ready_at > now
                }
            self._hosts[name] = Host(asyncio.Semaphore(self._per_host))
        return self._hosts[name]


def _learn(host: Host, error: FetchError | None) -> None:
    """Update a host after a download."""
    now = asyncio.get_running_loop().time()
    if error is None or error.status not in ("connection", "timeout"):
        host.failures = 0
    else:
        host.failures += 1
        if host.failures >= FAILURES:
            host.failures = 0
            host.ready_at = now + REST_S
            host.closed = (
                error.status,
                f"not tried: {FAILURES} downloads from this host failed in a row",
            )
    if error and error.busy:
        wait = error.wait_s if error.wait_s is not None else backoff(0)
        host.ready_at = max(host.ready_at, now + wait)
        if wait > LONGEST_WAIT_S:
            host.closed = (error.status, f"not tried: the host asked for a pause of {wait:,.0f} s")


def backoff(tries: int) -> float:
    """Seconds to wait after `tries` retries: exponential backoff with full jitter."""
    return random.uniform(0, min(LONGEST_BACKOFF_S, BACKOFF_S * 2**tries))


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks for; None if it is missing or invalid."""
    if value is None:
        return None
    if value.strip().isdecimal() and len(value) < 12:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
