"""Run a server until SIGTERM or Ctrl-C; requests that began are finished."""

from __future__ import annotations

import socket
from types import FrameType
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from commoncanvas.core.console import say
from commoncanvas.core.errors import ServerError
from commoncanvas.core.files import why

DRAIN_S = 20
"""Most seconds that requests have to finish after SIGTERM."""


BACKLOG = 2048
"""Connections that wait until the server takes them."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections at an address; port 0: any free one. Raises ServerError if it can't be had."""
    if not 0 <= port < 65_536:
        raise ServerError(f"port {port} is not one of: 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else why(error)
        raise ServerError(
            f"can't listen at {host}, port {port}: {reason}; choose another host or port"
        ) from error
    return found


def address_of(listening: socket.socket, host: str) -> str:
    """The URL of a server, as a browser on this machine opens it."""
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


class Work(Protocol):
    """What a server must finish before it ends."""

    def refuse(self) -> None:
        """Take no more. Called once, by a signal's handler."""

    def finished(self) -> bool:
        """Whether all that was taken is done."""


class _Server(uvicorn.Server):
    """Ends after the first signal when its work is finished, and after the second at once."""

    work: Work | None = None
    _draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.work is None or self._draining:
            self.force_exit = self._draining
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self.work.refuse()

    async def on_tick(self, counter: int) -> bool:
        if self._draining and self.work is not None and self.work.finished():
            self.should_exit = True
        return await super().on_tick(counter)


def serve(app: FastAPI, listening: socket.socket, address: str, work: Work | None = None) -> None:
    """Serve until SIGTERM or SIGINT. No further connections are taken then, and open requests have DRAIN_S seconds.

    With `work`, the server first answers on until that is finished, however long it takes, and returns; a second
    signal ends it sooner.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        # Lines of a request that is not HTTP are of no use to anybody.
        log_level="critical",
    )
    say(address, title="serving at:")
    server = _Server(config)
    server.work = work
    server.run(sockets=[listening])
