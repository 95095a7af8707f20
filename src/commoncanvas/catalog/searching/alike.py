"""Rows whose pictures look like one: by the distance of their perceptual hashes."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from commoncanvas.images.image import phash
from commoncanvas.images.tasks import look
from commoncanvas.table.rows import RowIds, among
from commoncanvas.table.snapshot import Snapshot

BITS = 18
"""Most of the 64 bits that differ. Among a million unrelated pictures, a few hundred are so near by chance."""
SCAN_ROWS = 65536


def hash_of(data: bytes) -> int:
    """The perceptual hash of a stranger's picture. Raises ImageError."""
    return phash(look(data))


class Hashes:
    """The hashes of one version of a catalog, 16 bytes a row, read when they are asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version: int | None = None
        self._row_ids: RowIds = np.empty(0, np.uint64)
        self._hashes: NDArray[np.uint64] = np.empty(0, np.uint64)

    def near(self, catalog: Snapshot, wanted: int, among_ids: RowIds | None) -> RowIds:
        """Row ids within BITS of `wanted`, nearest first, then as they were added. `among_ids`: sorted row ids, the
        only ones that count.
        """
        row_ids, hashes = self._of(catalog)
        distances = np.bitwise_count(hashes ^ np.uint64(wanted))
        chosen = np.flatnonzero(distances <= BITS)
        if among_ids is not None:
            chosen = chosen[among(row_ids[chosen], among_ids)]
        return row_ids[chosen][np.lexsort((row_ids[chosen], distances[chosen]))]

    def _of(self, catalog: Snapshot) -> tuple[RowIds, NDArray[np.uint64]]:
        with self._lock:
            if catalog.version != self._version:
                batches = list(catalog.scan(["phash"], "phash IS NOT NULL", SCAN_ROWS, with_row_id=True))
                empty = np.empty(0, np.uint64)
                self._row_ids = np.concatenate([empty, *(batch["_rowid"].to_numpy() for batch in batches)])
                self._hashes = np.concatenate([empty, *(batch["phash"].to_numpy() for batch in batches)])
                self._version = catalog.version
            return self._row_ids, self._hashes
