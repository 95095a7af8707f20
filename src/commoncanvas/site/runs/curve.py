"""A curve of any number of points in bounded memory, smoothed before it is thinned. Pure.

TensorBoard thins first: its smoothed curve then depends on how many points were kept. Here each bucket of points keeps
its lowest and highest value, and what the running means of all points were at its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

SPANS = (5, 50, 500)
"""How many points a running mean looks back, roughly. It looks at no later point."""
MOST = 1000
"""Buckets. One more, and each two are merged."""
FIRST, LAST, LOW, HIGH, VALUE, LINE, COUNT, SMOOTH = range(8)
"""Columns of `Curve.buckets`: first and last step, lowest, highest and last value, line of the last, how many points;
from SMOOTH on, the running means at the last."""

Array = NDArray[np.float64]


class Curve:
    """Points come in the order of the log. If the steps go back, as after a training that resumed from a checkpoint,
    what came from that step on is replaced, up to the width of a bucket.

    `version` changes when buckets other than the last have changed.
    """

    def __init__(self) -> None:
        self.buckets: Array = np.zeros((0, SMOOTH + len(SPANS)))
        self.version = 0
        self._width = 1
        self._count = 0
        self._means = np.zeros(len(SPANS))

    def add(self, steps: Array, values: Array, lines: Array) -> None:
        """Append points: all three have one number for each."""
        for part in np.split(np.arange(len(steps)), np.flatnonzero(np.diff(steps) < 0) + 1):
            if len(part):
                self._append(steps[part], values[part], lines[part])

    def _append(self, steps: Array, values: Array, lines: Array) -> None:
        if len(self.buckets) and steps[0] < self.buckets[-1, LAST]:
            self._cut(steps[0])
        columns = [steps, steps, values, values, values, lines, np.ones(len(steps)), *self._smoothed(values)]
        added = np.stack(columns, axis=1)
        last = self.buckets[-1:]
        before = int(last[0, COUNT]) if len(last) and last[0, COUNT] < self._width else 0
        # The last bucket is filled up first.
        opened = last if before else last[:0]
        rest = self.buckets[: len(self.buckets) - len(opened)]
        ends = (before + np.arange(len(added))) // self._width
        groups = np.concatenate([np.zeros(len(opened)), ends])
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        self.buckets = np.concatenate([rest, _merged(np.concatenate([opened, added]), starts)])
        while len(self.buckets) > MOST:
            self.buckets = _merged(self.buckets, np.arange(0, len(self.buckets), 2))
            self._width *= 2
            self.version += 1

    def _smoothed(self, values: Array) -> list[Array]:
        """Exponential running means without the pull to zero at the beginning (as in Adam, arXiv 1412.6980)."""
        numbers = self._count + 1 + np.arange(len(values))
        self._count += len(values)
        found = []
        for index, span in enumerate(SPANS):
            keep = 1 - 1 / span
            sums, state = lfilter([1 - keep], [1, -keep], values, zi=self._means[index : index + 1] * keep)
            self._means[index] = state[0] / keep
            found.append(sums / (1 - keep**numbers))
        return found

    def _cut(self, step: float) -> None:
        """Drop what came from `step` on."""
        self.buckets = self.buckets[self.buckets[:, FIRST] < step].copy()
        self.version += 1
        self._count = int(self.buckets[:, COUNT].sum())
        self._means = np.zeros(len(SPANS))
        if len(self.buckets):
            self.buckets[-1, LAST] = min(self.buckets[-1, LAST], step)
            self._means = self.buckets[-1, SMOOTH:] * (1 - (1 - 1 / np.array(SPANS)) ** self._count)

    def after(self, line: int) -> tuple[int, Array]:
        """The buckets that have points of later lines, and the index of the first of them."""
        start = int(np.searchsorted(self.buckets[:, LINE], line, side="right"))
        return start, self.buckets[start:]


def _merged(rows: Array, starts: NDArray[np.intp]) -> Array:
    """One bucket for each group of consecutive ones; `starts`: the first of each group."""
    made: Array = rows[np.append(starts[1:], len(rows)) - 1].copy()
    made[:, FIRST] = rows[starts, FIRST]
    made[:, LOW] = np.minimum.reduceat(rows[:, LOW], starts)
    made[:, HIGH] = np.maximum.reduceat(rows[:, HIGH], starts)
    made[:, COUNT] = np.add.reduceat(rows[:, COUNT], starts)
    return made
