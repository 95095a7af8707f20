"""Read the rows of a table in an SQLite file, in bounded memory, even if a value claims a huge size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report

MAGIC = b"SQLite format 3\0"
"""The file's first bytes."""
ROWS = 16_384
"""Most rows that are yielded at once."""
BYTES = 8 << 20
"""Approximate limit for the bytes of their values."""
VALUE_BYTES = 1 << 20
"""Limit for a value: metadata is never longer."""
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1

Row = tuple[Any, ...]
"""(rowid, values of the columns); text is returned as bytes."""


def table_rows(
    path: Path, needed: Sequence[str], optional: Sequence[str], owner: str, report: Report
) -> Iterator[tuple[str, list[str], list[Row]]]:
    """Yield (table, columns, some rows) of the first table that has all columns `needed`, with the existing columns of
    `optional`. A row with a value over VALUE_BYTES is skipped without reading it.

    Raises SourceError if there is no such table, or if the file is damaged. `owner` names the columns in this error.
    """
    try:
        # An import reads the first rows and the other rows in different threads.
        place = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(place, uri=True, check_same_thread=False)) as connection:
            connection.text_factory = bytes
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
            table, names = _table(path, connection, needed, optional, owner)
            rowid = _rowid(path, connection, table)
            for rows in _by_size(_rows(path, connection, table, rowid, names, report)):
                yield table, names, rows
    except sqlite3.Error as error:
        raise SourceError(f"{path} can't be read as an SQLite file: {error}") from error


def _table(
    path: Path, connection: sqlite3.Connection, needed: Sequence[str], optional: Sequence[str], owner: str
) -> tuple[str, list[str]]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (encoded,) in tables:
        table = encoded.decode("utf-8", "replace").replace('"', '""')
        names = [row[1].decode("utf-8", "replace") for row in _columns(connection, table)]
        if set(needed) <= set(names):
            return table, [name for name in names if name in (*needed, *optional)]
    raise SourceError(f"{path} has no table with {owner} columns ({', '.join(needed[:4])}, ...)")


def _rowid(path: Path, connection: sqlite3.Connection, table: str) -> str:
    """A name for the row number that is not the name of a column. Raises SourceError."""
    taken = {row[1].decode("utf-8", "replace").lower() for row in _columns(connection, table)}
    free = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)
    if free is None:
        raise SourceError(f"{path}: table {table} has columns rowid, _rowid_ and oid; rename one of them")
    try:
        connection.execute(f'SELECT {free} FROM "{table}" LIMIT 0')
    except sqlite3.OperationalError as error:
        raise SourceError(
            f"{path}: table {table} is WITHOUT ROWID; copy it into a table with rowids"
        ) from error
    return free


def _columns(connection: sqlite3.Connection, table: str) -> list[Row]:
    return connection.execute(f'PRAGMA table_info("{table}")').fetchall()


def _rows(
    path: Path, connection: sqlite3.Connection, table: str, rowid: str, names: list[str], report: Report
) -> Iterator[Row]:
    listed = ", ".join(f'"{name}"' for name in names)
    select = f'SELECT {rowid}, {listed} FROM "{table}" WHERE {rowid}'
    next_id = _FIRST
    while next_id <= _LAST:
        try:
            for row in connection.execute(f"{select} >= ? ORDER BY {rowid}", (next_id,)):
                yield row
                next_id = row[0] + 1
            return
        except sqlite3.DataError as error:
            # Python reads one row ahead, so the error also loses the row before: read that row again.
            (next_id,) = connection.execute(
                f'SELECT min({rowid}) FROM "{table}" WHERE {rowid} >= ?', (next_id,)
            ).fetchone()
            try:
                yield from connection.execute(f"{select} = ?", (next_id,)).fetchall()
            except sqlite3.DataError:
                report.skip(
                    f"{path.name}:{table}:{next_id}", "value too long", f"{error}: over {VALUE_BYTES:,} bytes"
                )
            next_id += 1


def _by_size(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Group rows into lists of at most ROWS rows and about BYTES bytes."""
    waiting: list[Row] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes))
        if len(waiting) == ROWS or size >= BYTES:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting
