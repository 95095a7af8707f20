"""The votes of an arena, for statistics; it may be served at the same time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from commoncanvas.arena.ballots import MIRRORED
from commoncanvas.arena.chooser import NOISE
from commoncanvas.arena.database import connect
from commoncanvas.arena.votes import Vote

_VOTES = """
SELECT rater, pair_facts.id, prompt, category, first_model, second_model, swapped, votes.question, votes.answer,
  votes.at, repeats, earlier.answer AS earlier
FROM votes JOIN assignments ON assignments.id = votes.assignment JOIN pair_facts ON pair_facts.number = pair
LEFT JOIN votes earlier ON earlier.assignment = repeats AND earlier.question = votes.question
  AND earlier.undone_at IS NULL
WHERE votes.undone_at IS NULL ORDER BY votes.at, votes.rowid
"""


def read_votes(folder: str | Path) -> list[Vote]:
    """All votes that stand, oldest first. Raises ArenaError if `folder` is no arena.

    The right answer of a pair that is shown again is the person's first one, with the sides swapped. It is left out
    while its first answer is taken back.
    """
    with closing(connect(Path(folder))) as connection:
        rows = connection.execute(_VOTES).fetchall()
    return [_vote(row) for row in rows if row["repeats"] is None or row["earlier"] is not None]


def _vote(row: sqlite3.Row) -> Vote:
    models = (row["first_model"], row["second_model"])
    left, right = reversed(models) if row["swapped"] else models
    check, right_answer = "", ""
    if NOISE in models:
        check, right_answer = "noise", "right" if left == NOISE else "left"
    elif row["repeats"] is not None:
        check, right_answer = "repeat", MIRRORED.get(row["earlier"], row["earlier"])
    return Vote(
        rater=row["rater"],
        pair=row["id"],
        prompt=row["prompt"],
        category=row["category"],
        left=left,
        right=right,
        question=row["question"],
        answer=row["answer"],
        check=check,
        right_answer=right_answer,
        at=row["at"],
    )
