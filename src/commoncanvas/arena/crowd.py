"""Tasks for crowd platforms, and their results: CSV out and in."""

from __future__ import annotations

import csv
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas.arena.ballots import ANSWERS
from commoncanvas.arena.blind import blind_id
from commoncanvas.arena.csv_rows import read_rows
from commoncanvas.arena.database import ask_to_recount, connect, settings_of
from commoncanvas.arena.votes_csv import write_text
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.text import cell, counted, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS: dict[str, tuple[str, ...]] = {
    "task": ("task", "Input.task", "INPUT:task"),
    "rater": ("rater", "WorkerId", "worker_id", "ASSIGNMENT:worker_id", "Participant id"),
    "answer": ("answer", "Answer.answer", "OUTPUT:answer", "preference"),
    "alignment": ("", "alignment", "Answer.alignment", "OUTPUT:alignment"),
    "at": ("", "at", "SubmitTime", "ASSIGNMENT:submitted"),
}
"""Headings of a task's results: our own, those of Mechanical Turk (Input.x, Answer.x), Toloka (INPUT:x, OUTPUT:x)."""


def write_tasks(folder: str | Path, out: str | Path, images: str) -> int:
    """Write a row for each pair of an arena, checks against noise included; returns their number.

    Columns: `task`, `prompt`, `left`, `right` (addresses: `images`, which is an http(s) address, with the file's name
    added). Sides are random, by the pair's id. Raises ArenaError.
    """
    if not images.startswith(("https://", "http://")):
        raise ArenaError(
            f"images {one_line(images)!r}: give the http(s) address that serves the arena's folder images/"
        )
    with closing(connect(Path(folder))) as connection:
        pairs = connection.execute(
            "SELECT id, text, first, second FROM pair_facts ORDER BY number"
        ).fetchall()
    written = StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["task", "prompt", "left", "right"])
    for pair in pairs:
        swapped = hashlib.sha256(pair["id"].encode()).digest()[0] % 2
        sides = (pair["second"], pair["first"]) if swapped else (pair["first"], pair["second"])
        address = [f"{images.rstrip('/')}/{side}.png" for side in sides]
        writer.writerow([f"{pair['id']}-{swapped}", cell(pair["text"]), *address])
    write_text(out, written.getvalue())
    return len(pairs)


@dataclass(frozen=True, repr=False)
class Imported(Printed):
    """What `arena import` added. `known`: answers that the arena had already, which stay as they are."""

    votes: int
    known: int
    raters: int

    def render(self) -> RenderableType:
        from rich.text import Text

        known = f"; {self.known:,} were there already" if self.known else ""
        return Text(f"{counted(self.votes, 'votes')} of {counted(self.raters, 'raters')} added{known}")


@dataclass(frozen=True)
class _Answer:
    pair: int
    swapped: int
    worker: str
    assignment: str
    answers: dict[str, str]
    at: str


def import_votes(folder: str | Path, file: str | Path, columns: Mapping[str, str] | None = None) -> Imported:
    """Add the results of tasks (see `write_tasks`) to an arena: all of a file, or on an error none.

    `columns`: our name -> heading in the file, for headings that COLUMNS lacks. Workers' ids become keyed digests,
    which only the arena's secret connects. A worker's answer to a task is added once,
    also if files overlap. Raises ArenaError that names the line.
    """
    own = {name: (heading,) for name, heading in (columns or {}).items()}
    unknown = set(own) - set(COLUMNS)
    if unknown:
        raise ArenaError(f"columns: {min(unknown)!r} is none of {', '.join(COLUMNS)}")
    with closing(connect(Path(folder))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = _add(connection, Path(file), COLUMNS | own)
            ask_to_recount(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return found


def _add(connection: sqlite3.Connection, file: Path, columns: Mapping[str, tuple[str, ...]]) -> Imported:
    votes = known = 0
    raters: dict[str, int] = {}
    for answer in _answers(connection, file, columns):
        if connection.execute("SELECT 1 FROM assignments WHERE id = ?", (answer.assignment,)).fetchone():
            known += len(answer.answers)
            continue
        connection.execute("INSERT OR IGNORE INTO raters VALUES (?, ?)", (answer.worker, answer.at))
        if answer.worker not in raters:
            asked = "SELECT COALESCE(MAX(number) + 1, 0) FROM assignments WHERE rater = ?"
            raters[answer.worker] = connection.execute(asked, (answer.worker,)).fetchone()[0]
        connection.execute(
            "INSERT INTO assignments VALUES (?, ?, ?, ?, ?, NULL, ?, 1)",
            (answer.assignment, answer.worker, raters[answer.worker], answer.pair, answer.swapped, answer.at),
        )
        raters[answer.worker] += 1
        for question, said in answer.answers.items():
            row = (answer.assignment, question, 0, said, answer.at)
            connection.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, NULL, NULL)", row)
            votes += 1
    return Imported(votes, known, len(raters))


def worker_code(secret: str, worker: str) -> str:
    """A rater's code for the id that a crowd platform gives a worker."""
    return f"crowd-{blind_id(secret, 'worker', worker)[:12]}"


def _answers(
    connection: sqlite3.Connection, file: Path, columns: Mapping[str, tuple[str, ...]]
) -> Iterator[_Answer]:
    secret = settings_of(connection)["secret"]
    pairs = {row["id"]: row["number"] for row in connection.execute("SELECT id, number FROM pairs")}
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    for place, row in read_rows(file, columns):
        pair, _, swapped = row["task"].rpartition("-")
        if pair not in pairs or swapped not in ("0", "1"):
            raise ArenaError(
                f"{place}: task {one_line(row['task'], 60)!r} is not of this arena; its tasks: arena export --tasks"
            )
        if not row["rater"]:
            raise ArenaError(f"{place}: no rater; fill it in, or delete the line")
        asked = {"preference": row["answer"], **({"alignment": row["alignment"]} if row["alignment"] else {})}
        answers = {question: said.lower() for question, said in asked.items()}
        for question, said in answers.items():
            if said not in ANSWERS:
                raise ArenaError(
                    f"{place}: {question} is {one_line(said, 40)!r}; it must be one of {', '.join(ANSWERS)}"
                )
        worker = worker_code(secret, row["rater"])
        assignment = blind_id(secret, "task", row["rater"], pair)
        yield _Answer(pairs[pair], int(swapped), worker, assignment, answers, row["at"] or now)
