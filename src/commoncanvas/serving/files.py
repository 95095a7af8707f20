"""Images that clients fetch by URL: kept in memory for an hour, or until newer ones need their place."""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

FILES = "/v1/images/files/"
OPEN_PATHS = ("/ready", FILES)
"""Beginnings of paths that need no token."""
KEPT_S = 3600.0
KEPT_BYTES = 64 * 2**20
NAME = re.compile(r"[0-9a-f]{32}\.png")


@dataclass
class Files:
    """PNG files by names that nobody can guess, so that an address alone is enough to fetch one."""

    most_bytes: int = KEPT_BYTES
    kept_s: float = KEPT_S
    clock: Callable[[], float] = time.monotonic
    _files: OrderedDict[str, tuple[float, bytes]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def add(self, content: bytes) -> str:
        """Keep a file; returns its name."""
        name = f"{secrets.token_hex(16)}.png"
        self._files[name] = self.clock(), content
        self._bytes += len(content)
        self._drop()
        return name

    def get(self, name: str) -> bytes | None:
        self._drop()
        return self._files[name][1] if name in self._files else None

    def _drop(self) -> None:
        while self._files:
            at, content = next(iter(self._files.values()))
            if self._bytes <= self.most_bytes and self.clock() - at < self.kept_s:
                return
            self._files.popitem(last=False)
            self._bytes -= len(content)
