"""The confidence sequence of two models, brought up to date vote by vote. It keeps sums in memory; it does no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

import numpy as np

from commoncanvas.arena.statistics.sequences import Moments, decided, line
from commoncanvas.arena.statistics.tables import PEOPLE, Scope


class RunningSequence:
    """Votes on one pair of models. To add or take back a vote costs the same however many there are."""

    def __init__(self, scope: Scope = PEOPLE) -> None:
        self.scope = scope
        self.count = 0
        self.total = 0.0
        self.clusters: list[dict[Hashable, tuple[float, int]]] = [
            defaultdict(lambda: (0.0, 0)) for _ in range(3 if scope == PEOPLE else 1)
        ]
        """For prompts, raters and what they share: sum and number of the votes of each."""
        self.sums = [[0.0, 0.0, 0.0] for _ in self.clusters]
        """As `Moments.ways`."""

    def add(self, vote: float, prompt: str, rater: str, by: int = 1) -> None:
        """Count a vote, 1, 0.5 or 0 for the first model; `by` -1 takes it back."""
        self.count += by
        self.total += by * vote
        keys = (prompt, rater, (prompt, rater))
        for clusters, sums, key in zip(self.clusters, self.sums, keys, strict=False):
            before, votes = clusters[key]
            after, now = before + by * vote, votes + by
            sums[0] += after * after - before * before
            sums[1] += after * now - before * votes
            sums[2] += now * now - votes * votes
            clusters[key] = after, now

    def moments(self) -> Moments:
        """The moments after all votes, as arrays without an axis."""
        ways = tuple((np.asarray(ss), np.asarray(sc), np.asarray(cc)) for ss, sc, cc in self.sums)
        return Moments(np.asarray(float(self.count)), np.asarray(float(self.total)), ways)

    def urgency(self, alpha: float) -> float:
        """About the width of the sequence, at most 1; and 1 more while it does not decide. See `decisions.decide`.

        Its ends are where D reaches the line. The line is taken at the win rate, and not at the ends, which needs no
        search for them.
        """
        if not self.count:
            return 2.0
        now = self.moments()
        width = 2 * float(line(now.spread(self.total / self.count), alpha)) / self.count
        return min(width, 1.0) + (not bool(decided(now, alpha)))
