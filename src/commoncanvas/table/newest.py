"""The newest version of a table for a server that reads on and on, while other processes change it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import lance

from commoncanvas.core.kept import Kept
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.snapshot import Snapshot

EVERY_S = 1.0
"""A change is seen after this time at the latest."""
KEPT = 8
"""Versions that stay open."""


class Newest:
    """Snapshots of one table, which share what Lance keeps in memory. Thread-safe."""

    def __init__(
        self, catalog: Snapshot, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._newest = Snapshot(catalog.dataset, catalog.storage_options)
        self._kept: Kept[int, Snapshot] = Kept(KEPT)
        self._lock = threading.Lock()
        self._every_s, self._clock = every_s, clock
        self._looked: float | None = None

    def __call__(self) -> Snapshot:
        """The newest version, or the one that was the newest less than `every_s` ago. Raises CatalogError."""
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked >= self._every_s:
                self._look()
                self._looked = now
            return self._newest

    def at(self, version: int | None) -> Snapshot:
        """The version, if it was the newest a short time ago; else the newest. A purge may have deleted its files."""
        newest = self()
        kept = None if version is None else self._kept.get(version)
        return newest if kept is None else kept

    def forget(self, version: int) -> None:
        """Give a version up whose files are gone."""
        self._kept.drop(version)

    def _look(self) -> None:
        before = self._newest
        with explaining(f"catalog {before.uri} can't be read"):
            dataset = lance.dataset(
                before.uri, storage_options=before.storage_options, session=before.dataset.session()
            )
        if int(dataset.version) != before.version:
            self._newest = Snapshot(dataset, before.storage_options)
        self._kept.put(self._newest.version, self._newest)
