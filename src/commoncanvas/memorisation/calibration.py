"""From how similar on an image is a copy: measured on known copies and known strangers. Pure.

Shapes: N strangers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commoncanvas.evaluation.metrics import wilson_interval

ALARMS = 0.0025
"""Share of strangers that may be taken for copies: the aim. What is measured is stated beside it."""


@dataclass(frozen=True)
class Share:
    """`found` of `of`, with the 95 % interval of Wilson."""

    found: int
    of: int

    @property
    def share(self) -> float | None:
        return self.found / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson_interval(self.found / self.of, self.of) if self.of else None

    def to_dict(self) -> dict[str, float | int | None]:
        low, high = self.interval or (None, None)
        return {"found": self.found, "of": self.of, "share": self.share, "low": low, "high": high}

    def __str__(self) -> str:
        if not self.of:
            return "none measured"
        low, high = self.interval or (0.0, 1.0)
        bounds = f"95 %: {100 * low:.1f} to {100 * high:.1f} %"
        return f"{100 * self.found / self.of:.1f} % ({self.found:,} of {self.of:,}; {bounds})"


@dataclass(frozen=True)
class Calibration:
    """`threshold`: the least similarity of a copy. `false_alarms`: strangers over the threshold of other strangers.
    `copies`: for each change, how many changed training images have their own original over the threshold. It need not
    be the nearest one: near-twins of it may be nearer.
    `strangers`: similarity of each stranger to its nearest training image, sorted.
    """

    threshold: float
    false_alarms: Share
    copies: Mapping[str, Share]
    strangers: NDArray[np.float32]

    def percentile(self, similarity: float) -> float:
        """Per cent of the strangers that are less similar to their nearest training image."""
        return 100 * float(np.searchsorted(self.strangers, similarity)) / len(self.strangers)


def threshold_of(strangers_N: NDArray[np.floating], alarms: float = ALARMS) -> float:
    """The similarity that a further stranger exceeds with probability `alarms` at most, if there are 1 / alarms - 1
    strangers; with fewer, the largest one (split conformal prediction: Vovk et al., "Algorithmic Learning in a Random
    World", 2005). Raises ValueError without strangers.
    """
    if not len(strangers_N):
        raise ValueError("a threshold needs strangers")
    rank = min(len(strangers_N), math.ceil((len(strangers_N) + 1) * (1 - alarms)))
    return float(np.sort(strangers_N)[rank - 1])


def false_alarms_of(strangers_N: NDArray[np.floating], alarms: float = ALARMS) -> Share:
    """How many strangers exceed the threshold that the other half of them gives; each half is judged by the other. The
    halves are the even and the odd places: give strangers in random order.
    """
    halves = strangers_N[::2], strangers_N[1::2]
    if not len(halves[1]):
        return Share(0, 0)
    over = [int((mine > threshold_of(others, alarms)).sum()) for mine, others in (halves, halves[::-1])]
    return Share(sum(over), len(strangers_N))
