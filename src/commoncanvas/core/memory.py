"""The memory of processes."""

from __future__ import annotations

import os
import sys

if sys.platform != "win32":
    import resource

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of `ru_maxrss` in `getrusage`."""


def peak_bytes() -> int:
    """The largest resident memory of this process so far; 0 on Windows, where it is not measured."""
    units = 0
    if sys.platform != "win32":
        units = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return units * MAXRSS_BYTES


def wait_for(child: int) -> tuple[int, int]:
    """Wait for a child process; returns its exit code (-n for signal n) and its largest resident memory.

    Not for Windows.
    """
    status = units = 0
    if sys.platform != "win32":
        _, status, usage = os.wait4(child, 0)
        units = usage.ru_maxrss
    return os.waitstatus_to_exitcode(status), units * MAXRSS_BYTES
