"""Raters' attention checks, and the rule that leaves raters out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from commoncanvas.arena.votes import Vote
from commoncanvas.options.arena import CheckRule

RULE = "left_out"
"""Setting of an arena: the fields of its CheckRule."""


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
