"""For processes that tests start: on PYTHONPATH, it stops what would leave the machine, and writes it down."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ip_address(str(name).split("%")[0]).is_loopback
    except ValueError:
        return False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path: a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _is_here(host):
        with Path(os.environ["ESCAPES"]).open("a") as file:
            file.write(f"{event} {host} by {sys.argv}\n")
        raise ConnectionRefusedError(f"the test would have sent a packet to {host}")


if "ESCAPES" in os.environ:
    sys.addaudithook(_watch)
