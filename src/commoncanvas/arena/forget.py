"""`arena forget`: a rater's votes and code leave the arena's file."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas.arena.crowd import worker_code
from commoncanvas.arena.database import ask_to_recount, connect, settings_of
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.text import counted, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

_ASKED = "SELECT id FROM assignments WHERE rater = ?"


@dataclass(frozen=True, repr=False)
class Forgotten(Printed):
    """What `arena forget` deleted: answers that stood, and those that were taken back."""

    rater: str
    answers: int

    def render(self) -> RenderableType:
        from rich.text import Text

        return Text(f"rater {self.rater}: {counted(self.answers, 'answers')} and the code deleted")


def forget(folder: str | Path, rater: str) -> Forgotten:
    """Delete a rater, all or nothing. A server may run meanwhile: it counts the votes again.

    `rater`: the code, or the id that a crowd platform gives the worker. The file's free pages are overwritten, and its
    log is emptied. Raises ArenaError if nobody has this code.
    """
    with closing(connect(Path(folder))) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        codes = (rater, rater.strip().lower(), worker_code(settings_of(connection)["secret"], rater))
        known = [
            code
            for code in codes
            if connection.execute("SELECT 1 FROM raters WHERE id = ?", (code,)).fetchone()
        ]
        if not known:
            raise ArenaError(
                f"{folder}: no rater has the code {one_line(rater, 60)!r}; arena report --json lists them"
            )
        code = known[0]
        answers = connection.execute(f"DELETE FROM votes WHERE assignment IN ({_ASKED})", (code,)).rowcount
        connection.execute("DELETE FROM assignments WHERE rater = ?", (code,))
        connection.execute("DELETE FROM raters WHERE id = ?", (code,))
        ask_to_recount(connection)
        connection.execute("COMMIT")
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise ArenaError(
                f"{folder}: the votes are deleted, but another process keeps them in the log of the file; "
                "end it, and start arena serve once"
            )
    return Forgotten(code, answers)
