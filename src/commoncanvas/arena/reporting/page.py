"""The page of an arena's report, one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commoncanvas.arena.reporting.figures import Pair, Question
from commoncanvas.arena.reporting.report import ArenaReport
from commoncanvas.arena.reporting.table import rank_words
from commoncanvas.arena.reporting.words import (
    figures,
    fixed_words,
    headline,
    left_out_words,
    limits,
    sentence,
    title,
)
from commoncanvas.arena.statistics.win_rates import WinRate
from commoncanvas.core.numbers import percent
from commoncanvas.core.text import clean
from commoncanvas.pages.bands import band_chart
from commoncanvas.pages.report import write_page

MOST_PLOTS = 6
"""Sequences that are drawn; undecided pairs come first."""


@dataclass(frozen=True)
class Cell:
    """A win rate of the matrix: of the row's model against the column's. `tone`: -1 (all lost) to 1 (all won)."""

    shown: str
    votes: int
    tone: float
    decided: bool


def write_arena_page(report: ArenaReport, out: str | Path) -> None:
    """Write the page at `out`. All text is escaped. Raises CommonCanvasError if it can't be written."""
    write_page(
        out,
        "arena.html.j2",
        name=clean(report.name),
        questions=[_question(report, found) for found in report.questions],
        raters=report.basis.raters,
        left_out=left_out_words(report.basis),
        credits=[clean(each) for each in report.basis.credits],
    )


def _question(report: ArenaReport, found: Question) -> dict[str, object]:
    models = [rank.model for rank in found.ranks]
    models += [name for name in report.models if name not in models]
    drawn = sorted(
        (pair for pair in found.pairs if pair.path), key=lambda pair: pair.decision.winner is not None
    )
    return {
        "question": found.question,
        "title": title(found),
        "headline": headline(found),
        "limits": limits(found, report.basis),
        "figures": figures(found, report.basis)[:-1],
        "ranks": [(rank, rank_words(rank.best, rank.worst)) for rank in found.ranks],
        "models": models,
        "matrix": [[_cell(found, row, column) for column in models] for row in models],
        "plots": [_plot(pair, found.question) for pair in drawn[:MOST_PLOTS]],
        "more_plots": len(drawn) - min(len(drawn), MOST_PLOTS),
        "pairs": [(pair, fixed_words(pair)) for pair in found.pairs],
        "categories": [
            (pair.decision, category or "none", rate, _bar(rate))
            for pair in found.pairs
            for category, rate in pair.categories.items()
        ],
    }


def _cell(found: Question, row: str, column: str) -> Cell | None:
    for pair in found.pairs:
        names = (pair.decision.first, pair.decision.second)
        if {row, column} == set(names) and pair.win_rate.rate is not None:
            rate = pair.win_rate.rate if row == names[0] else 1 - pair.win_rate.rate
            return Cell(percent(rate), pair.win_rate.votes, 2 * rate - 1, pair.decision.winner is not None)
    return None


def _plot(pair: Pair, question: str) -> tuple[str, str, str]:
    """Title, SVG and sentence of a sequence."""
    decision = pair.decision
    shown = f"{clean(decision.first)} against {clean(decision.second)}"
    return shown, band_chart(pair.path, f"Win rate of {shown} by votes"), sentence(decision, question)


def _bar(rate: WinRate) -> tuple[float, float, float]:
    """Low, rate and high in percent of the track."""
    return 100 * rate.low, 100 * (rate.rate or 0.0), 100 * rate.high
