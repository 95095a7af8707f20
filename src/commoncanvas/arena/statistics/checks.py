"""Raters' attention checks, and the rule that leaves raters out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from commoncanvas.arena.votes import Vote
from commoncanvas.core.errors import ArenaError

RULE = "left_out"
"""Setting of an arena: the fields of its CheckRule."""


@dataclass(frozen=True)
class CheckRule:
    """Which raters are left out. It is fixed when the arena is built, before there is a vote.

    `noise`, `repeat`: the least share of checks of each kind that a rater has to pass, from 0 to 1. `least`: checks of
    the kind that a rater has answered before the rule is applied. People often answer differently when two images are
    about as good, so repeated pairs are shown and leave nobody out, unless the rule says so.
    """

    noise: float = 0.6
    repeat: float = 0.0
    least: int = 2

    def __post_init__(self) -> None:
        for name in ("noise", "repeat"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ArenaError(f"rule for checks: {name} is {share:g}; give a share from 0 to 1")
        if self.least < 1:
            raise ArenaError(f"rule for checks: least is {self.least}; give 1 or more")

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> CheckRule:
        """The rule that an arena stores. Raises ArenaError for a field that it doesn't know."""
        try:
            return cls(**(settings or {}))
        except TypeError as error:
            raise ArenaError(f"rule for checks: {error}; it has noise, repeat and least") from error

    def __str__(self) -> str:
        kinds = [("noise", self.noise), ("repeated", self.repeat)]
        said = [f"fewer than {100 * share:g} % of {name} checks" for name, share in kinds if share]
        return f"who passed {' or '.join(said)}, of {self.least} or more" if said else "nobody is left out"


@dataclass(frozen=True)
class RaterChecks:
    """One rater's votes and checks. `left_out`: why, or ""."""

    rater: str
    votes: int
    noise: int
    noise_passed: int
    repeat: int
    repeat_passed: int
    left_out: str


def checks(votes: Iterable[Vote], rule: CheckRule) -> list[RaterChecks]:
    """Each rater's checks, of all questions, by name."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for vote in votes:
        own = counts[vote.rater]
        own[vote.check] += 1
        own[f"{vote.check} passed"] += bool(vote.check) and vote.answer == vote.right_answer
    return [_rater(rater, own, rule) for rater, own in sorted(counts.items())]


def _rater(rater: str, own: Mapping[str, int], rule: CheckRule) -> RaterChecks:
    why = ""
    for kind, needed in (("noise", rule.noise), ("repeat", rule.repeat)):
        answered, passed = own.get(kind, 0), own.get(f"{kind} passed", 0)
        if answered >= rule.least and passed < needed * answered:
            why = why or f"passed {passed} of {answered} {kind} checks"
    return RaterChecks(
        rater,
        own.get("", 0),
        own.get("noise", 0),
        own.get("noise passed", 0),
        own.get("repeat", 0),
        own.get("repeat passed", 0),
        why,
    )


def counted_votes(votes: Iterable[Vote], raters: Iterable[RaterChecks]) -> list[Vote]:
    """The votes that figures count: those of the raters who stay in, without checks."""
    out = {each.rater for each in raters if each.left_out}
    return [vote for vote in votes if not vote.check and vote.rater not in out]
