"""The SQLite file of an arena: models, prompts, images, pairs, raters, what they were shown, and each vote.

Every commit is on the disk before it is acknowledged (write-ahead log, `synchronous=FULL`). Another process may add
pairs while a server writes votes.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ArenaError

FILE = "arena.sqlite"
BUSY_S = 30.0
VERSION = 1
CREDITS = "real_credits"
"""Setting: credits of the real images that checks show."""
RECOUNT = "recount"
"""Setting: a number that rises when votes change that a server did not write."""
TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE models (name TEXT PRIMARY KEY, sha256 TEXT, drawing TEXT NOT NULL) STRICT;
CREATE TABLE prompts (id TEXT PRIMARY KEY, text TEXT NOT NULL, category TEXT NOT NULL) STRICT;
CREATE TABLE images (
  id TEXT PRIMARY KEY, model TEXT NOT NULL, prompt TEXT NOT NULL REFERENCES prompts, number INTEGER NOT NULL,
  UNIQUE (model, prompt, number)
) STRICT;
CREATE TABLE pairs (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
  first TEXT NOT NULL REFERENCES images, second TEXT NOT NULL REFERENCES images
) STRICT;
CREATE TABLE raters (id TEXT PRIMARY KEY, began_at TEXT NOT NULL) STRICT;
CREATE TABLE assignments (
  id TEXT PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters, number INTEGER NOT NULL,
  pair INTEGER NOT NULL REFERENCES pairs, swapped INTEGER NOT NULL, repeats TEXT REFERENCES assignments,
  shown_at TEXT NOT NULL, complete INTEGER NOT NULL DEFAULT 0, UNIQUE (rater, number)
) STRICT;
CREATE INDEX open_assignments ON assignments (rater, number) WHERE complete = 0;
CREATE INDEX repeated ON assignments (repeats) WHERE repeats IS NOT NULL;
CREATE TABLE votes (
  assignment TEXT NOT NULL REFERENCES assignments, question TEXT NOT NULL, attempt INTEGER NOT NULL,
  answer TEXT NOT NULL, at TEXT NOT NULL, seconds REAL, undone_at TEXT,
  PRIMARY KEY (assignment, question, attempt)
) STRICT;
CREATE UNIQUE INDEX one_vote ON votes (assignment, question) WHERE undone_at IS NULL;
CREATE VIEW pair_facts AS
  SELECT pairs.number, pairs.id, pairs.first, pairs.second, one.model AS first_model, two.model AS second_model,
    one.prompt, prompts.text, prompts.category
  FROM pairs JOIN images one ON one.id = pairs.first JOIN images two ON two.id = pairs.second
  JOIN prompts ON prompts.id = one.prompt;
"""


def connect(folder: Path, make: bool = False) -> sqlite3.Connection:
    """Open the file in `folder`; transactions are begun by hand. Raises ArenaError."""
    path = folder / FILE
    if not make and not path.exists():
        raise ArenaError(f"{folder} is not an arena; commoncanvas arena build makes one")
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        version = _version(connection, make)
    except sqlite3.Error as error:
        connection.close()
        raise ArenaError(f"{path} can't be read: {error}") from error
    if version != VERSION:
        connection.close()
        raise ArenaError(f"{path} has version {version}; this CommonCanvas reads version {VERSION}")
    return connection


def _version(connection: sqlite3.Connection, make: bool) -> int:
    """The version of the tables, which are made if there are none."""
    asked = connection.execute("PRAGMA user_version").fetchone()[0]
    if asked == 0 and make:
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        return VERSION
    return int(asked)


def settings_of(connection: sqlite3.Connection) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM settings")}


def ask_to_recount(connection: sqlite3.Connection) -> None:
    """Let a server that is running count all votes again: others than its own came, or some went."""
    write_settings(connection, {RECOUNT: settings_of(connection).get(RECOUNT, 0) + 1})


def write_settings(connection: sqlite3.Connection, values: dict[str, Any]) -> None:
    rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in values.items()]
    connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", rows)
