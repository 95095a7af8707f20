"""`commoncanvas arena report`, `power`, `export` and `import`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.arena import app as app
from commoncanvas.cli.shared import Json, show
from commoncanvas.core.console import say
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.text import counted
from commoncanvas.options.arena_design import DEFAULTS, Design


@app.command
def report(
    arena: str,
    *,
    html: str | None = None,
    only_these_raters: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Say who won, how sure that is, and what the votes don't say. You may run it as often as you like, also
    while people vote.

    Args:
        arena: an arena's folder, or a CSV file of votes.
        html: also write a page (one file).
        only_these_raters: speak of these raters alone, and not of people like them; for few raters.
    """
    from commoncanvas.arena.reporting.source import report_of

    found = report_of(arena, only_these_raters=only_these_raters)
    if html is not None:
        from commoncanvas.arena.reporting.page import write_arena_page

        write_arena_page(found, html)
        say(f"page written to {html}")
    show(found, json_)


@app.command
def power(
    *,
    differences: Annotated[list[float] | None, Parameter(consume_multiple=True, negative="")] = None,
    design: Annotated[Design, Parameter(name="*")] = DEFAULTS,
    json_: Json = False,
) -> None:
    """Say how many votes a difference between two models needs, before an arena is built.

    Args:
        differences: in points: of 100 votes, how many more the better model wins than the other; default: 2 5 10.
    """
    from commoncanvas.arena.power import power as run

    show(run(differences or (2, 5, 10), design), json_)


@app.command
def export(
    arena: str, *, votes: str | None = None, tasks: str | None = None, images: str | None = None
) -> None:
    """Write an arena's votes, or its pairs as tasks for a crowd platform, as CSV.

    Args:
        arena: an arena's folder.
        votes: file for the votes, one row each.
        tasks: file for the tasks, one row a pair, with the addresses of both images.
        images: http(s) address that serves the arena's folder images/; for --tasks.
    """
    from commoncanvas.arena.crowd import write_tasks
    from commoncanvas.arena.reporting.source import votes_of
    from commoncanvas.arena.votes_csv import write_votes

    if votes is None and tasks is None:
        raise ArenaError("export: give --votes FILE or --tasks FILE")
    if votes is not None:
        say(f"{counted(write_votes(votes_of(arena), votes), 'votes')} written to {votes}")
    if tasks is not None:
        say(f"{counted(write_tasks(arena, tasks, images or ''), 'tasks')} written to {tasks}")


@app.command(name="import")
def import_(
    arena: str,
    results: str,
    *,
    columns: Annotated[dict[str, str] | None, Parameter(negative="")] = None,
    json_: Json = False,
) -> None:
    """Add a crowd platform's results of the tasks that `export --tasks` wrote. Run it again for a longer file.

    Args:
        arena: an arena's folder.
        results: CSV file with the columns task, rater and answer (left, right, both or neither), as Mechanical Turk,
            Toloka or Prolific name them.
        columns: headings that differ: --columns.answer "Answer.choice"
    """
    from commoncanvas.arena.crowd import import_votes

    show(import_votes(arena, results, columns), json_)
