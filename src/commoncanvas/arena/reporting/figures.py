"""The figures of a report."""

from __future__ import annotations

from dataclasses import dataclass

from commoncanvas.arena.statistics.agreement import Agreement
from commoncanvas.arena.statistics.checks import RaterChecks
from commoncanvas.arena.statistics.decisions import Decision
from commoncanvas.arena.statistics.ranks import Rank
from commoncanvas.arena.statistics.tables import Scope
from commoncanvas.arena.statistics.win_rates import WinRate
from commoncanvas.options.arena import CheckRule


@dataclass(frozen=True)
class Pair:
    """Two models: the decision, which may be watched, and the interval for votes that were fixed beforehand.

    `among_raters`: the decision if it is to hold for these raters alone, and not for people like them.
    """

    decision: Decision
    among_raters: Decision
    win_rate: WinRate
    categories: dict[str, WinRate]
    path: list[tuple[int, float, float, float]]
    """(votes, win rate, low, high) of the sequence as the votes came."""


@dataclass(frozen=True)
class Effects:
    """Shares of the variance of votes that prompts and raters explain, averaged over pairs of models; and of ties."""

    prompts: float | None
    raters: float | None
    ties: float


@dataclass(frozen=True)
class Question:
    """All figures of one question."""

    question: str
    votes: int
    prompts: int
    raters: int
    ranks: list[Rank]
    pairs: list[Pair]
    agreement: Agreement
    left: WinRate
    """How often the left image won, of votes that named a winner: 1/2 if nobody prefers a side."""
    effects: Effects


@dataclass(frozen=True)
class Basis:
    """Whom figures are about, and whose votes they count.

    `rule_stored`: whether the arena stored the rule for checks when it was built; else it is the default. `against`:
    what checks showed beside noise, "real" images or those of a "model"; "" if nobody had such a check. `credits`: of
    the real images.
    """

    scope: Scope
    raters: list[RaterChecks]
    rule: CheckRule
    rule_stored: bool
    against: str
    credits: tuple[str, ...]

    @property
    def left_out(self) -> list[RaterChecks]:
        return [each for each in self.raters if each.left_out]


def smallest_visible(pair: Pair) -> float:
    """Points of difference (of 100 votes, won less lost) that would have been decided with these votes."""
    low, high = pair.decision.low, pair.decision.high
    return 100 * (high - low)
