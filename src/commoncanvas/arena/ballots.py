"""What people see and answer, on the disk. One thread uses this; see `arena.writer`.

A person has one open assignment. An answer counts once for its assignment, question and attempt: when it comes again,
after a reload or a double click, nothing changes. An answer that is taken back stays in the table, with the time.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from commoncanvas.arena.chooser import Chooser, Pair, check_at
from commoncanvas.arena.database import RECOUNT, connect, settings_of
from commoncanvas.arena.statistics.tables import PEOPLE, SCOPE
from commoncanvas.core.errors import ArenaError

ANSWERS = ("left", "right", "both", "neither")
PREFERENCE, ALIGNMENT = "preference", "alignment"
MIRRORED = {"left": "right", "right": "left"}
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Letters and digits that are not mixed up when people copy them."""
REPEAT_AFTER = 3
"""A pair is shown again after at least so many others."""
MOST_SECONDS = 86_400.0


@dataclass
class _Person:
    """What one person was shown (numbers of pairs, and how many are of two models), how many assignments they had, and
    how many are complete.
    """

    seen: set[int] = field(default_factory=set)
    of_models: int = 0
    shown: int = 0
    done: int = 0


class UnknownRaterError(Exception):
    """No person has this id."""


class RefusedError(Exception):
    """The answer is none, or is to something that this person was not asked."""


@dataclass(frozen=True)
class Task:
    """What a person sees: a prompt, two images (their ids), a question, and how far they are."""

    assignment: str
    question: str
    attempt: int
    prompt: str
    left: str
    right: str
    done: int
    total: int
    can_undo: bool


@dataclass(frozen=True)
class Finished:
    """There is nothing more to ask this person. `asked_all`: they saw every pair that there is."""

    done: int
    can_undo: bool
    asked_all: bool


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_rater() -> str:
    """An id of about 49 random bits, such as `k7qf-2m9x-pd`: a person can copy it, and it says nothing of them."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(10))
    return f"{letters[:4]}-{letters[4:8]}-{letters[8:]}"


class Ballots:
    """The votes of an arena. Each method is to be called inside a transaction of `connection`."""

    def __init__(self, folder: Path) -> None:
        self.connection = connect(folder)
        self.load()

    def load(self) -> None:
        """Count everything again from the disk."""
        self.settings = settings_of(self.connection)
        self.questions = (PREFERENCE, ALIGNMENT) if self.settings["alignment"] else (PREFERENCE,)
        self.chooser = Chooser(self.settings["shuffle_seed"], self.settings.get(SCOPE, PEOPLE))
        self.people: dict[str, _Person] = defaultdict(_Person)
        self._add_pairs()
        for rater, pair, complete, repeats in self.connection.execute(
            "SELECT rater, pair, complete, repeats FROM assignments"
        ):
            person = self.people[rater]
            self._see(person, pair)
            person.done += complete
            if repeats is None:
                self.chooser.show(pair)
        votes = self.connection.execute(
            "SELECT pair, answer, swapped, rater FROM votes JOIN assignments ON assignments.id = votes.assignment "
            "WHERE question = ? AND undone_at IS NULL AND repeats IS NULL",
            (PREFERENCE,),
        )
        for pair, answer, swapped, rater in votes:
            self.chooser.count(pair, answer, bool(swapped), rater)
        self.version = self._version()

    def refresh(self) -> None:
        """Read what another process changed since the last time: pairs, settings, and votes."""
        version = self._version()
        if version == self.version:
            return
        before, self.settings = self.settings, settings_of(self.connection)
        if self.settings.get(RECOUNT) != before.get(RECOUNT):
            self.load()
        self._add_pairs()
        self.version = version

    def _version(self) -> int:
        """It changes when another process writes."""
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def _add_pairs(self) -> None:
        last = self.chooser.pairs[-1].number if self.chooser.pairs else 0
        rows = self.connection.execute("SELECT * FROM pair_facts WHERE number > ? ORDER BY number", (last,))
        self.chooser.add(
            Pair(
                row["number"],
                row["id"],
                row["first"],
                row["second"],
                (row["first_model"], row["second_model"]),
                row["prompt"],
                row["text"],
                row["category"],
            )
            for row in rows
        )

    def join(self) -> str:
        """Add a person; returns the id."""
        rater = new_rater()
        self.connection.execute("INSERT INTO raters VALUES (?, ?)", (rater, now()))
        return rater

    def known(self, rater: str) -> bool:
        found = self.connection.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone()
        return found is not None

    def task(self, rater: str) -> Task | Finished:
        """What this person sees now. Raises UnknownRaterError."""
        if not self.known(rater):
            raise UnknownRaterError
        person = self.people[rater]
        row = self._open(rater)
        if row is None:
            most = self.settings["per_rater"]
            if most and person.done >= most:
                return Finished(person.done, person.done > 0, False)
            if not self._assign(rater, person):
                return Finished(person.done, person.done > 0, True)
            row = self._open(rater)
        assert row is not None
        return self._shown(row, person)

    def vote(
        self,
        rater: str,
        assignment: str,
        question: str,
        attempt: int,
        answer: str,
        seconds: float | None = None,
    ) -> Task | Finished:
        """Store an answer, once, and return what comes next. Raises UnknownRaterError and RefusedError."""
        row = self.connection.execute(
            "SELECT * FROM assignments WHERE id = ? AND rater = ?", (assignment, rater)
        ).fetchone()
        if row is None:
            if not self.known(rater):
                raise UnknownRaterError
            raise RefusedError("this person was not asked this")
        if question not in self.questions or answer not in ANSWERS:
            raise RefusedError(f"question {question!r} has no answer {answer!r}")
        if (question, attempt) == self._unanswered(assignment):
            took = None if seconds is None else min(max(seconds, 0.0), MOST_SECONDS)
            self.connection.execute(
                "INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (assignment, question, attempt, answer, now(), took),
            )
            if question == self.questions[-1]:
                self._complete(rater, assignment, True)
            if question == PREFERENCE and row["repeats"] is None:
                self.chooser.count(row["pair"], answer, bool(row["swapped"]), rater)
        return self.task(rater)

    def undo(self, rater: str) -> Task | Finished:
        """Take back this person's last answer, and ask it again. Raises UnknownRaterError."""
        last = self.connection.execute(
            "SELECT assignment, question, attempt, answer, pair, swapped, repeats FROM votes "
            "JOIN assignments ON assignments.id = votes.assignment WHERE rater = ? AND undone_at IS NULL "
            "ORDER BY number DESC, question ASC LIMIT 1",  # alignment is asked last, and is first in the alphabet
            (rater,),
        ).fetchone()
        if last is not None:
            self.connection.execute(
                "UPDATE votes SET undone_at = ? WHERE assignment = ? AND question = ? AND attempt = ?",
                (now(), last["assignment"], last["question"], last["attempt"]),
            )
            if last["question"] == self.questions[-1]:
                self._complete(rater, last["assignment"], False)
            if last["question"] == PREFERENCE and last["repeats"] is None:
                self.chooser.count(last["pair"], last["answer"], bool(last["swapped"]), rater, by=-1)
        return self.task(rater)

    def _open(self, rater: str) -> sqlite3.Row | None:
        """The first assignment with a question that has no answer."""
        found: sqlite3.Row | None = self.connection.execute(
            "SELECT * FROM assignments WHERE rater = ? AND complete = 0 ORDER BY number LIMIT 1", (rater,)
        ).fetchone()
        return found

    def _complete(self, rater: str, assignment: str, complete: bool) -> None:
        self.connection.execute(
            "UPDATE assignments SET complete = ? WHERE id = ?", (int(complete), assignment)
        )
        self.people[rater].done += 1 if complete else -1

    def _unanswered(self, assignment: str) -> tuple[str, int] | None:
        """The first question without an answer, and how often it was answered before."""
        votes = self.connection.execute(
            "SELECT question, undone_at IS NULL FROM votes WHERE assignment = ?", (assignment,)
        ).fetchall()
        answered = {question for question, stands in votes if stands}
        for question in self.questions:
            if question not in answered:
                return question, sum(each == question for each, _ in votes)
        return None

    def _shown(self, row: sqlite3.Row, person: _Person) -> Task:
        pair = self.chooser.pair(row["pair"])
        left, right = (pair.second, pair.first) if row["swapped"] else (pair.first, pair.second)
        asked = self._unanswered(row["id"])
        assert asked is not None
        there_are = person.shown + len(self.chooser.pairs) - len(self.chooser.noise) - person.of_models
        return Task(
            assignment=row["id"],
            question=asked[0],
            attempt=asked[1],
            prompt=pair.text,
            left=left,
            right=right,
            done=person.done,
            total=min(self.settings["per_rater"] or there_are, there_are),
            can_undo=person.done > 0 or asked[0] != self.questions[0],
        )

    def _assign(self, rater: str, person: _Person) -> bool:
        """Choose the next pair for this person, and store it; False if there is none."""
        number = person.shown
        check = check_at(self.settings["shuffle_seed"], rater, number, self.settings["checks"])
        again = self._to_repeat(rater, number) if check == "repeat" else None
        if again is not None:
            pair, swapped, repeats = self.chooser.pair(again["pair"]), not again["swapped"], again["id"]
        else:
            noise = self.chooser.choose_noise(rater, number, person.seen) if check == "noise" else None
            chosen = noise or self.chooser.choose(rater, number, person.seen)
            if chosen is None:
                return False
            pair, swapped, repeats = chosen, self.chooser.swapped(chosen), None
        assignment = secrets.token_hex(12)
        self.connection.execute(
            "INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (assignment, rater, number, pair.number, int(swapped), repeats, now()),
        )
        self._see(person, pair.number)
        if repeats is None:
            self.chooser.show(pair.number)
        return True

    def _see(self, person: _Person, pair: int) -> None:
        person.of_models += pair not in person.seen and not self.chooser.pair(pair).noise
        person.seen.add(pair)
        person.shown += 1

    def _to_repeat(self, rater: str, number: int) -> sqlite3.Row | None:
        """An earlier assignment of two models with a clear answer, not shown again yet; the earliest."""
        found = self.connection.execute(
            "SELECT assignments.* FROM assignments JOIN votes ON votes.assignment = assignments.id "
            "WHERE rater = ? AND number <= ? AND question = ? AND undone_at IS NULL "
            "AND answer IN ('left', 'right') AND repeats IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM assignments later WHERE later.repeats = assignments.id) "
            "ORDER BY number",
            (rater, number - REPEAT_AFTER, PREFERENCE),
        )
        rows: Iterator[sqlite3.Row] = iter(found)
        return next((row for row in rows if not self.chooser.pair(row["pair"]).noise), None)


def open_ballots(folder: Path) -> Ballots:
    """The votes of a finished arena. Raises ArenaError if it is not finished."""
    ballots = Ballots(folder)
    if not ballots.chooser.groups:
        raise ArenaError(f"{folder} has no pairs yet; commoncanvas arena build adds models and completes it")
    return ballots
