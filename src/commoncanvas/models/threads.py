"""The number of torch's threads on a CPU that other programs use too.

torch splits each operation between its threads and waits for the slowest. If another program uses a thread's core, all
threads wait. Example: one other program is busy, and XS trains on two cores. It has a fifth of its speed with two
threads, and four fifths with one (benchmarks/contention.py). So torch gets one thread per free core.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from commoncanvas.core.console import say

STAT = Path("/proc/stat")
WINDOW_S = 1.0
"""Seconds for one measurement of the cores' use."""
FIRST_WINDOW_S = 0.2
USED = 0.4
"""A core counts as used by others from this fraction of its time. A busy program that shares two cores with two of our
threads gets two thirds of a core, and a whole core next to one of our threads. Both must give the same number.
"""


@dataclass(frozen=True)
class Usage:
    """Busy seconds of this process's cores since the machine started, and of this process since it started."""

    at: float
    cores: float
    own: float


def usage() -> Usage | None:
    """The current usage; None on other systems than Linux."""
    found = None
    if sys.platform == "linux":
        with suppress(OSError):  # a container may hide it
            lines = STAT.read_text().splitlines()
            allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
            times = os.times()
            busy = _ticks(lines, allowed) / os.sysconf("SC_CLK_TCK")
            found = Usage(time.monotonic(), busy, times.user + times.system)
    return found


def _ticks(lines: Sequence[str], allowed: Container[str]) -> int:
    """How long the `allowed` cores were busy, in clock ticks."""
    busy = 0
    for line in lines:
        name, *ticks = line.split()
        if name in allowed:
            # user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
            values = [int(tick) for tick in ticks[:8]]
            busy += sum(values) - values[3] - values[4]
    return busy


class Threads:
    """Sets torch's threads to the number of free cores: at least one, at most torch's default."""

    def __init__(self, most: int, fixed: bool = False) -> None:
        self.most = self.count = most
        self.others = 0.0
        """Cores that other programs used on average in the last window."""
        self._before = usage() if most > 1 and not fixed else None
        self._window_s = FIRST_WINDOW_S
        self._reported = False

    def follow(self) -> int:
        """Set torch's threads for the calling thread, and return their number. Measures at most once per window."""
        before = self._before
        if before is None:
            return self.count
        if time.monotonic() - before.at >= self._window_s and (now := usage()):
            used = now.cores - before.cores - (now.own - before.own)
            self.others = max(0.0, used / (now.at - before.at))
            self._before, self._window_s = now, WINDOW_S
            self.count = threads_beside(self.others, self.most)
            self._report()
        if torch.get_num_threads() != self.count:
            torch.set_num_threads(self.count)
        return self.count

    def _report(self) -> None:
        if self.count < self.most and not self._reported:
            self._reported = True
            say(
                f"other programs use {self.others:.1f} cores, so torch uses {self.count} of {self.most} threads for "
                "now; the last bits of results depend on this number (set OMP_NUM_THREADS to fix it)"
            )


def threads_beside(others: float, most: int) -> int:
    """The number of threads to use if other programs use `others` cores."""
    return max(1, most - int(others + 1 - USED))


@lru_cache(maxsize=1)
def threads() -> Threads:
    """The `Threads` of this process. The number is fixed if OMP_NUM_THREADS sets it, and with a GPU, because then the
    CPU does not compute.
    """
    fixed = "OMP_NUM_THREADS" in os.environ or torch.cuda.is_available()
    return Threads(torch.get_num_threads(), fixed)
