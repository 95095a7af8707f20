"""What an arena's votes say: `commoncanvas arena report`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from commoncanvas.arena.chooser import REAL
from commoncanvas.arena.reporting.figures import Basis, Effects, Pair, Question
from commoncanvas.arena.statistics.agreement import agreement
from commoncanvas.arena.statistics.checks import checks, counted_votes
from commoncanvas.arena.statistics.decisions import Decision, decide, decisions, path
from commoncanvas.arena.statistics.effects import share_explained
from commoncanvas.arena.statistics.ranks import ranks
from commoncanvas.arena.statistics.tables import PEOPLE, THESE_RATERS, Scope, Table, dense, table
from commoncanvas.arena.statistics.win_rates import WinRate, win_rate
from commoncanvas.arena.votes import Vote
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import ArenaError
from commoncanvas.options.arena import CheckRule

if TYPE_CHECKING:
    from rich.console import RenderableType

POINTS = 300
"""Most points of a sequence that a report keeps."""


@dataclass(frozen=True, repr=False)
class ArenaReport(Printed):
    """What an arena's votes say."""

    name: str
    models: tuple[str, ...]
    questions: list[Question]
    basis: Basis

    def render(self) -> RenderableType:
        """The sentences and tables that the terminal shows."""
        from commoncanvas.arena.reporting.table import render

        return render(self.name, self.questions, self.basis)


def arena_report(
    votes: Iterable[Vote],
    *,
    name: str = "arena",
    models: Collection[str] = (),
    rule: CheckRule | None = None,
    scope: Scope = PEOPLE,
    credits: Iterable[str] = (),
) -> ArenaReport:
    """The report on `votes`, in the order in which they came. `models`: also these, which may have no vote yet.

    `rule`: the rule for checks that the arena stores; None: the default. `credits`: of real images in checks.
    Raises ArenaError if no vote counts.
    """
    votes = list(votes)
    raters = checks(votes, rule or CheckRule())
    kept = counted_votes(votes, raters)
    if not kept:
        left_out = sum(bool(each.left_out) for each in raters)
        raise ArenaError(
            f"{name}: no votes to report on: {len(votes):,} answers, "
            f"{sum(bool(vote.check) for vote in votes):,} of them checks; {left_out:,} raters left out"
        )
    all_models = sorted({*models, *(side for vote in kept for side in (vote.left, vote.right))})
    questions = sorted({vote.question for vote in kept}, key=lambda question: question != "preference")
    return ArenaReport(
        name,
        tuple(all_models),
        [
            _question(each, [vote for vote in kept if vote.question == each], all_models, scope)
            for each in questions
        ],
        Basis(scope, raters, rule or CheckRule(), rule is not None, _against(votes), tuple(credits)),
    )


def _against(votes: Iterable[Vote]) -> str:
    shown = {side for vote in votes if vote.check == "noise" for side in (vote.left, vote.right)}
    return "" if not shown else REAL if REAL in shown else "model"


def _question(question: str, votes: Sequence[Vote], models: Collection[str], scope: Scope) -> Question:
    found = table(votes, models)
    return Question(
        question,
        len(votes),
        len({vote.prompt for vote in votes}),
        len({vote.rater for vote in votes}),
        ranks(found, scope),
        [_pair(found, each, scope) for each in decisions(found, scope)],
        agreement(votes),
        _left(votes),
        _effects(found),
    )


def _pair(found: Table, decision: Decision, scope: Scope) -> Pair:
    first, second = (found.models.index(name) for name in (decision.first, decision.second))
    own = found.pair(first, second)
    shown = np.unique(np.linspace(0, max(len(own) - 1, 0), POINTS).astype(np.intp))
    points = []
    if len(own):
        lows, highs = path(own, decision.alpha, shown, scope)
        means = np.cumsum(own.scores) / np.arange(1, len(own) + 1)
        points = [
            (int(at) + 1, float(means[at]), float(low), float(high))
            for at, low, high in zip(shown, lows, highs, strict=True)
        ]
    names = found.category_names
    return Pair(
        decision,
        decide(found, first, second, THESE_RATERS),
        win_rate(own.scores, own.clusters(scope)),
        {
            names[number]: win_rate(part.scores, part.clusters(scope))
            for number in np.unique(own.categories)
            if len(names) > 1 and len(part := own.where(own.categories == number))
        },
        points,
    )


def _left(votes: Sequence[Vote]) -> WinRate:
    sided = [vote for vote in votes if vote.answer in ("left", "right")]
    found = table(sided)
    scores = np.array([vote.answer == "left" for vote in sided], float)
    return win_rate(scores, found.clusters(PEOPLE))


def _effects(found: Table) -> Effects:
    """Each pair of models is weighted by its votes."""
    explained: dict[str, list[tuple[float, int]]] = {"prompts": [], "raters": []}
    for first, second in combinations(range(len(found.models)), 2):
        own = found.pair(first, second)
        for name, way in (("prompts", own.prompts), ("raters", own.raters)):
            share = share_explained(own.scores, dense(way))
            if share is not None:
                explained[name].append((share, len(own)))
    means = {
        name: sum(share * votes for share, votes in each) / sum(votes for _, votes in each) if each else None
        for name, each in explained.items()
    }
    return Effects(means["prompts"], means["raters"], float((found.scores == 0.5).mean()))
