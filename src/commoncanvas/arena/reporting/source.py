"""Where a report's votes come from: an arena's folder, or a CSV file of votes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from commoncanvas.arena.database import CREDITS, connect, settings_of
from commoncanvas.arena.reading import read_votes
from commoncanvas.arena.reporting.report import ArenaReport, arena_report
from commoncanvas.arena.statistics.checks import RULE
from commoncanvas.arena.statistics.tables import PEOPLE, SCOPE, THESE_RATERS
from commoncanvas.arena.votes import Vote
from commoncanvas.arena.votes_csv import read_votes_csv
from commoncanvas.core.errors import ArenaError
from commoncanvas.options.arena import CheckRule


def votes_of(path: str | Path) -> list[Vote]:
    """The votes of an arena's folder, or of a CSV file, oldest first. Raises ArenaError."""
    path = Path(path)
    if path.is_dir():
        return read_votes(path)
    if not path.exists():
        raise ArenaError(f"{path} is not there; give an arena's folder, or a CSV file of votes")
    return read_votes_csv(path)


def report_of(path: str | Path, *, only_these_raters: bool = False) -> ArenaReport:
    """The report on an arena's folder or a CSV file of votes. The folder's own rule for checks is used.

    `only_these_raters`: figures are about these raters alone, and not about people like them. Raises ArenaError.
    """
    path = Path(path)
    votes = votes_of(path)
    settings: dict[str, Any] = {}
    models: list[str] = []
    if path.is_dir():
        with closing(connect(path)) as connection:
            settings = settings_of(connection)
            models = [name for (name,) in connection.execute("SELECT name FROM models")]
    alone = only_these_raters or settings.get(SCOPE) == THESE_RATERS
    return arena_report(
        votes,
        name=path.resolve().name,
        models=models,
        rule=CheckRule.of(settings[RULE]) if RULE in settings else None,
        scope=THESE_RATERS if alone else PEOPLE,
        credits=settings.get(CREDITS, ()),
    )
