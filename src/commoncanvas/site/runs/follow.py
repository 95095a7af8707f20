"""Follow a log that another process writes: each byte is read once, and what is kept does not grow with the log."""

from __future__ import annotations

import os
import secrets
import threading
import time
from io import BufferedReader
from pathlib import Path

import numpy as np

from commoncanvas.core.kept import Kept
from commoncanvas.site.runs.curve import Curve
from commoncanvas.site.runs.entries import entry_of, figures_of

CHUNK = 2**20
"""Bytes that are read at once. A longer line is skipped."""
SECONDS = 0.5
"""That one call may take, roughly: the next one reads on."""
MOST_CURVES = 200
MOST_NAME = 100
"""Characters of a figure's name."""
KNOWN_BYTES = 256


class Follower:
    """The curves of one log.

    A last line without its end is waited for. A log that was replaced or shortened, as a resumed training does with
    it, is read again from its beginning; `version` changes then. Lines that are no entries are skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._restart(0)

    def _restart(self, inode: int) -> None:
        self.curves: dict[str, Curve] = {}
        self.lines = 0
        self.complete = False
        """Whether the last `read` came to the end."""
        self._id = secrets.token_hex(4)
        self._inode = inode
        self._offset = 0
        self._end = b""
        """The last bytes that were read, to know the file again."""
        self._skipping = False

    def reading(self) -> threading.Lock:
        """Held while its curves are looked at."""
        return self._lock

    @property
    def version(self) -> str:
        return f"{self._id}-{sum(curve.version for curve in self.curves.values())}"

    def read(self, seconds: float = SECONDS) -> None:
        """Read what is new. A missing file has no lines."""
        until = time.monotonic() + seconds
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    if not self._same(file):
                        self._restart(os.fstat(file.fileno()).st_ino)
                    self.complete = False
                    while not self.complete and time.monotonic() < until:
                        self.complete = not self._read_chunk(file)
            except OSError:
                self._restart(0)
                self.complete = True

    def _same(self, file: BufferedReader) -> bool:
        if os.fstat(file.fileno()).st_ino != self._inode:
            return False
        file.seek(self._offset - len(self._end))
        return file.read(len(self._end)) == self._end

    def _read_chunk(self, file: BufferedReader) -> bool:
        """Whether there may be more."""
        file.seek(self._offset)
        data = file.read(CHUNK)
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) == CHUNK:
            self._skipping, whole = True, CHUNK
        elif whole:
            lines = data[:whole].split(b"\n")[:-1]
            self._add(lines[1:] if self._skipping else lines)
            self._skipping = False
        self._offset += whole
        self._end = (self._end + data[:whole])[-KNOWN_BYTES:]
        return len(data) == CHUNK

    def _add(self, lines: list[bytes]) -> None:
        points: dict[str, list[tuple[int, float, int]]] = {}
        for line in lines:
            self.lines += 1
            entry = entry_of(line)
            if entry is None:
                continue
            step = entry["step"]
            for name, value in figures_of(entry).items():
                points.setdefault(name, []).append((step, value, self.lines))
        for name, found in points.items():
            if len(name) > MOST_NAME or (name not in self.curves and len(self.curves) >= MOST_CURVES):
                continue
            steps, values, numbers = np.array(found, dtype=np.float64).T
            self.curves.setdefault(name, Curve()).add(steps, values, numbers)


class Followers:
    """The followers of the logs that were asked for last."""

    def __init__(self, most: int = 50) -> None:
        self._found: Kept[Path, Follower] = Kept(most)
        self._lock = threading.Lock()
        """Held to make a follower: a log has one."""

    def of(self, log: Path) -> Follower:
        """The follower of a log; it has read what there was."""
        with self._lock:
            follower = self._found.get(log)
            if follower is None:
                follower = Follower(log)
                self._found.put(log, follower)
        follower.read()
        return follower
