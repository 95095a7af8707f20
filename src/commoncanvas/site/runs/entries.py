"""Lines of a run's log. Another process may be writing them, and any of them may be broken."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

TAIL_BYTES = 64_000
"""What is read of a log's end: the last lines, and the speed."""
LARGEST_STEP = 2**53


def entry_of(line: bytes) -> dict[str, Any] | None:
    """The object of a line if it has a step."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    step = entry.get("step")
    return entry if type(step) is int and 0 <= step < LARGEST_STEP else None


def figures_of(entry: dict[str, Any]) -> dict[str, float]:
    """The numbers of an entry but its step; JSON of Python may have NaN, and integers of any size."""
    return {
        name: float(value)
        for name, value in entry.items()
        if name != "step" and type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
    }


def last_lines(path: Path) -> list[bytes]:
    """The last complete lines, of at most TAIL_BYTES; none if the file can't be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - TAIL_BYTES)
            file.seek(start)
            data = file.read(TAIL_BYTES)
    except OSError:
        return []
    lines = data.split(b"\n")[:-1]
    return lines[1:] if start else lines
