"""Votes as a CSV file: one row a vote, one column a field of `Vote`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from io import StringIO
from pathlib import Path

from commoncanvas.arena.csv_rows import read_rows
from commoncanvas.arena.votes import Vote
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.files import replace_text, why
from commoncanvas.core.text import cell, one_line, text_of_cell

NAMES = tuple(field.name for field in fields(Vote))
NEEDED = ("rater", "prompt", "left", "right", "answer")
ALLOWED = {
    "question": ("preference", "alignment"),
    "answer": ("left", "right", "both", "neither"),
    "check": ("", "noise", "repeat"),
    "right_answer": ("", "left", "right", "both", "neither"),
}


def write_votes(votes: Iterable[Vote], path: str | Path) -> int:
    """Write votes, atomically; returns their number. Text that a spreadsheet would run gets an apostrophe.

    Raises ArenaError if the file can't be written.
    """
    written = StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(NAMES)
    count = 0
    for vote in votes:
        writer.writerow([cell(field) for field in astuple(vote)])
        count += 1
    write_text(path, written.getvalue())
    return count


def write_text(path: str | Path, text: str) -> None:
    """Write a file, and folders above it that are missing. Raises ArenaError if that fails."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        raise ArenaError(f"{path} can't be written: {why(error)}") from error


def read_votes_csv(path: str | Path) -> list[Vote]:
    """Read votes in the order of the file, which is the order of sequences.

    Columns `rater`, `prompt`, `left`, `right` and `answer` are needed. Without `question` it is "preference"; without
    `pair`, prompt and models make one. Raises ArenaError that names the line.
    """
    columns = {name: (name,) if name in NEEDED else ("", name) for name in NAMES}
    return [_vote(place, row) for place, row in read_rows(path, columns)]


def _vote(place: str, row: dict[str, str]) -> Vote:
    row = {name: text_of_cell(field) or "" for name, field in row.items()}
    row["question"] = row["question"] or "preference"
    for name in NEEDED:
        if not row[name]:
            raise ArenaError(f"{place}: {name} is empty; fill it in, or delete the line")
    for name, allowed in ALLOWED.items():
        if row[name] not in allowed:
            words = ", ".join(word or "nothing" for word in allowed)
            raise ArenaError(f"{place}: {name} is {one_line(row[name], 40)!r}; it must be one of {words}")
    if row["left"] == row["right"]:
        raise ArenaError(
            f"{place}: left and right are both {one_line(row['left'], 40)!r}; a pair has two models"
        )
    if row["check"] and not row["right_answer"]:
        raise ArenaError(f"{place}: a check needs right_answer, the answer that passes it")
    row["pair"] = row["pair"] or " ".join([row["prompt"], *sorted((row["left"], row["right"]))])
    return Vote(**row)
