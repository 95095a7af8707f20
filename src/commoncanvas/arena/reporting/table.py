"""An arena's report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from commoncanvas.arena.reporting.figures import Basis, Question
from commoncanvas.arena.reporting.words import figures, fixed_words, headline, limits, title
from commoncanvas.core.numbers import percent
from commoncanvas.core.tables import SHOWN, headed
from commoncanvas.core.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def render(name: str, questions: Sequence[Question], basis: Basis) -> RenderableType:
    """See `ArenaReport.render`."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for found in questions:
        parts += [Text(f"{one_line(name)} · {title(found)}"), Text("")]
        parts += [Text(headline(found), style="bold"), Text("")]
        if found.ranks:
            parts += [rank_table(found), Text("")]
        parts += [pair_table(found), Text("")]
        if any(pair.categories for pair in found.pairs):
            parts += [category_table(found), Text("")]
        parts += [*map(Text, figures(found, basis)), Text("")]
        parts += [
            Text("What the figures don't say", style="bold"),
            *map(Text, limits(found, basis)),
            Text(""),
        ]
    out = basis.left_out
    parts += [Text(f"left out: rater {each.rater}, who {each.left_out}") for each in out[:SHOWN]]
    if len(out) > SHOWN:
        parts.append(Text(f"and {len(out) - SHOWN:,} more; --json and --html have all"))
    return Group(*(parts if out else parts[:-1]))


def rank_table(found: Question) -> Table:
    shown = headed("model", "rank", "votes against the others", "95 %", "Elo points", "95 %", "votes")
    for rank in found.ranks:
        shown.add_row(
            one_line(rank.model),
            rank_words(rank.best, rank.worst),
            percent(rank.score),
            f"{percent(rank.score_low)} to {percent(rank.score_high)}",
            f"{rank.strength:+.0f}",
            f"{rank.strength_low:+.0f} to {rank.strength_high:+.0f}",
            f"{rank.votes:,}",
        )
    return shown


def rank_words(best: int, worst: int) -> str:
    return str(best) if best == worst else f"{best} to {worst}"


def pair_table(found: Question) -> Table:
    shown = headed(
        "pair", "votes", "first won", "ties", "second won", "win rate", "if fixed", "if watched", "decided"
    )
    for pair in found.pairs:
        rate, decision = pair.win_rate, pair.decision
        shown.add_row(
            f"{one_line(decision.first)} : {one_line(decision.second)}",
            f"{rate.votes:,}",
            f"{rate.wins:,}",
            f"{rate.ties:,}",
            f"{rate.losses:,}",
            percent(rate.rate),
            fixed_words(pair),
            f"{percent(decision.low)} to {percent(decision.high)}",
            one_line(decision.winner or "no"),
        )
    return shown


def category_table(found: Question) -> Table:
    shown = headed("category", "pair", "votes", "win rate", "95 %, if fixed")
    for pair in found.pairs:
        names = f"{one_line(pair.decision.first)} : {one_line(pair.decision.second)}"
        for category, rate in pair.categories.items():
            between = f"{percent(rate.low)} to {percent(rate.high)}"
            shown.add_row(one_line(category) or "none", names, f"{rate.votes:,}", percent(rate.rate), between)
    return shown
