"""torch's threads on a CPU that other programs use too.

torch shares each operation out among its threads and waits for the slowest. A thread whose core another program uses
makes all others wait: beside one busy program, XS trains on two cores at a fifth of its speed with two threads, and at
four fifths with one (benchmarks/contention.py). So torch gets as many threads as there are cores that nobody else uses.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from commoncanvas.core.console import say

STAT = Path("/proc/stat")
WINDOW_S = 1.0
"""Seconds over which the use of the cores is measured."""
FIRST_WINDOW_S = 0.2
USED = 0.4
"""A core counts as used by others from this share of its time on. A busy program that shares two cores with two threads
of ours gets two thirds of one, and all of it once one of ours is gone: both have to lead to the same answer.
"""


@dataclass(frozen=True)
class Usage:
    """Seconds since the machine's and the process's start: of this process's cores, and of the process itself."""

    at: float
    cores: float
    mine: float


def usage() -> Usage | None:
    """None where the system doesn't say (only Linux does here)."""
    try:
        allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = STAT.read_text().splitlines()
    except (OSError, AttributeError):
        return None
    busy = 0
    for line in lines:
        name, *ticks = line.split()
        if name in allowed:
            # user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
            values = [int(tick) for tick in ticks[:8]]
            busy += sum(values) - values[3] - values[4]
    times = os.times()
    return Usage(time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), times.user + times.system)


class Threads:
    """Sets torch's threads to the cores that other programs leave free: at least one, at most torch's own choice."""

    def __init__(self, most: int, fixed: bool = False) -> None:
        self.most = self.count = most
        self.others = 0.0
        """Cores that other programs use, on average over the last window."""
        self._before = usage() if most > 1 and not fixed else None
        self._window_s = FIRST_WINDOW_S
        self._said = False

    def follow(self) -> int:
        """Set torch's threads for the calling thread, and return how many. Measures at most once a window."""
        before = self._before
        if before is None:
            return self.count
        if time.monotonic() - before.at >= self._window_s and (now := usage()):
            used = now.cores - before.cores - (now.mine - before.mine)
            self.others = max(0.0, used / (now.at - before.at))
            self._before, self._window_s = now, WINDOW_S
            self.count = threads_beside(self.others, self.most)
            self._say()
        if torch.get_num_threads() != self.count:
            torch.set_num_threads(self.count)
        return self.count

    def _say(self) -> None:
        if self.count < self.most and not self._said:
            self._said = True
            say(
                f"other programs use {self.others:.1f} cores: computing with {self.count} of {self.most} threads while "
                "they do; the last bits of results depend on the number (OMP_NUM_THREADS fixes it)"
            )


def threads_beside(others: float, most: int) -> int:
    """How many threads go beside programs that use `others` cores."""
    return max(1, most - int(others + 1 - USED))


@lru_cache(maxsize=1)
def threads() -> Threads:
    """The process's. The number stays as it is where the user chose it by OMP_NUM_THREADS, and beside a GPU, which
    computes in the CPU's place.
    """
    fixed = "OMP_NUM_THREADS" in os.environ or torch.cuda.is_available()
    return Threads(torch.get_num_threads(), fixed)
