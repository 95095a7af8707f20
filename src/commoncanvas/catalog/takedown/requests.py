"""Requests of people to take pictures out of a catalog: one SQLite file in a folder beside it.

A request is on the disk before it is acknowledged (write-ahead log, `synchronous=FULL`). The file holds contact data:
only its owner can read it (mode 0600), and what is deleted is overwritten. Several processes may use it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from commoncanvas.core.errors import CatalogError, RequestRefusedError
from commoncanvas.core.files import sync, why
from commoncanvas.core.text import counted

FILE = "requests.sqlite"
BUSY_S = 30.0
VERSION = 1
MOST_OPEN = 1000
"""Open requests of one catalog. People decide them one by one, so more are of use to nobody."""
MOST_OPEN_OF_IMAGE = 5
TABLES = """
CREATE TABLE requests (
  number INTEGER PRIMARY KEY AUTOINCREMENT, code_sha256 TEXT NOT NULL UNIQUE, asked_at TEXT NOT NULL,
  image_id TEXT NOT NULL, scope TEXT NOT NULL, title TEXT, creator TEXT, creator_url TEXT, license TEXT,
  page_url TEXT, reason TEXT NOT NULL, contact TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'open', decided_at TEXT, answer TEXT, rows INTEGER
) STRICT;
CREATE INDEX open_requests ON requests (image_id) WHERE state = 'open';
"""
Scope = Literal["image", "creator"]
State = Literal["open", "accepted", "done", "refused"]


@dataclass(frozen=True)
class Asked:
    """What a person asks, and what the row said about the picture at that time."""

    image_id: str
    scope: Scope
    """Take out this picture, or all pictures by its creator."""
    title: str | None
    creator: str | None
    creator_url: str | None
    license: str | None
    page_url: str | None
    reason: str
    contact: str


@dataclass(frozen=True)
class Stored(Asked):
    """A request in the file. Times are in UTC (ISO 8601)."""

    number: int
    asked_at: str
    state: State
    """`accepted`: the takedown was decided, and is not known to be complete."""
    decided_at: str | None
    answer: str | None
    """Why it was refused."""
    rows: int | None
    """Pictures that were taken down."""


class Requests:
    """The requests of one catalog."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, folder: Path) -> Requests:
        """Open the file in `folder`; make both if they are missing. Raises CatalogError."""
        path = folder / FILE
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                sync(folder, deep=False)
                sync(folder.parent, deep=False)
        except OSError as error:
            raise CatalogError(
                f"requests can't be kept in {folder}: {why(error)}; --requests FOLDER names another place"
            ) from error
        made = cls(path)
        with made._changing() as connection:
            version = _version(connection)
            if version == 0:
                for statement in TABLES.split(";")[:-1]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise CatalogError(f"{path} has version {version}; this CommonCanvas reads version {VERSION}")
        return made

    def add(self, asked: Asked, code: str) -> int:
        """Keep a request; returns its number when it is on the disk. `code` is what its person reads it by later.

        The same code again is the same request: a form that is sent twice. Raises RequestRefusedError if too many are
        open, and CatalogError.
        """
        digest = _digest(code)
        with self._changing() as connection:
            known = connection.execute(
                "SELECT number FROM requests WHERE code_sha256 = ?", [digest]
            ).fetchone()
            if known is not None:
                return int(known[0])
            _refuse_floods(connection, asked.image_id)
            values = {"code_sha256": digest, "asked_at": _now(), **vars(asked)}
            names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
            added = connection.execute(f"INSERT INTO requests ({names}) VALUES ({places})", values)
        return int(added.lastrowid or 0)

    def of_person(self, number: int, code: str) -> Stored | None:
        """The request with this number, if `code` is its code. Compares in constant time."""
        with self._opened() as connection:
            row = connection.execute("SELECT * FROM requests WHERE number = ?", [number]).fetchone()
        expected = row["code_sha256"] if row is not None else _digest("")
        return _stored(row) if hmac.compare_digest(expected, _digest(code)) and row is not None else None

    def with_states(self, *states: State) -> list[Stored]:
        """Requests in one of these states, oldest first."""
        marks = ", ".join("?" * len(states))
        query = f"SELECT * FROM requests WHERE state IN ({marks}) ORDER BY number"
        with self._opened() as connection:
            return [_stored(row) for row in connection.execute(query, states)]

    def accept(self, number: int) -> bool:
        """Decide that an open request will be carried out; False if somebody else decided it meanwhile."""
        return self._set("state = 'accepted', decided_at = ?", [_now()], number, "open")

    def done(self, number: int, rows: int) -> bool:
        """An accepted request was carried out, and `rows` pictures were taken down."""
        return self._set("state = 'done', rows = ?", [rows], number, "accepted")

    def reopen(self, number: int) -> bool:
        """An accepted request can't be carried out: it must be decided again."""
        return self._set("state = 'open', decided_at = NULL", [], number, "accepted")

    def refuse(self, number: int, answer: str) -> bool:
        """Refuse an open request; `answer` says why, to the person who asked."""
        return self._set("state = 'refused', decided_at = ?, answer = ?", [_now(), answer], number, "open")

    def forget(self, days: int) -> int:
        """Delete requests that were decided `days` or more days ago, with their contact data; returns how many."""
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        with self._changing() as connection:
            count = connection.execute(
                "DELETE FROM requests WHERE state IN ('done', 'refused') AND decided_at <= ?", [before]
            ).rowcount
        with self._opened() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def _set(self, change: str, values: list[str | int], number: int, state: State) -> bool:
        with self._changing() as connection:
            query = f"UPDATE requests SET {change} WHERE number = ? AND state = ?"
            return connection.execute(query, [*values, number, state]).rowcount == 1

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call. It makes no file: that would not have mode 0600."""
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw", timeout=BUSY_S, isolation_level=None, uri=True
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise CatalogError(f"{self.path} can't be used: {error}") from error

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """The same; what is done with it is all or nothing, and on the disk afterwards."""
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def requests_folder(uri: str, folder: str | Path | None = None) -> Path:
    """Where the requests of the catalog `uri` are: `cc.lance-requests` beside it, or in `folder`.

    Raises CatalogError for an object store without `folder`.
    """
    if folder is not None:
        return Path(folder) / f"{uri.rstrip('/').rpartition('/')[2]}-requests"
    if "://" in uri:
        raise CatalogError(
            f"catalog {uri} is in an object store, and requests to take pictures out need a folder of this machine; "
            "pass --requests FOLDER"
        )
    place = Path(uri).resolve()  # one place, by whatever link the catalog is opened
    return place.with_name(f"{place.name}-requests")


def kept_requests(uri: str, folder: str | Path | None = None) -> Requests | None:
    """The requests of a catalog; None if there is no file yet. Raises CatalogError."""
    place = requests_folder(uri, folder)
    return Requests.make(place) if (place / FILE).exists() else None


def _refuse_floods(connection: sqlite3.Connection, image_id: str) -> None:
    count = "SELECT count(*) FROM requests WHERE state = 'open'"
    if connection.execute(f"{count} AND image_id = ?", [image_id]).fetchone()[0] >= MOST_OPEN_OF_IMAGE:
        raise RequestRefusedError(
            f"{counted(MOST_OPEN_OF_IMAGE, 'requests')} about this picture wait already; somebody will look at them"
        )
    if connection.execute(count).fetchone()[0] >= MOST_OPEN:
        raise RequestRefusedError(
            f"{counted(MOST_OPEN, 'requests')} wait, and no more are taken until some are decided; write to the people "
            "who run this server"
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _stored(row: sqlite3.Row) -> Stored:
    return Stored(**{name: row[name] for name in Stored.__dataclass_fields__})


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
