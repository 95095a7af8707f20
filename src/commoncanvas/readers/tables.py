"""Read Parquet files and Arrow streams a few rows at a time, since each image can have megabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas.core.errors import SourceError
from commoncanvas.core.text import one_line
from commoncanvas.readers.memory_bounds import check_stream, rows_at_once
from commoncanvas.readers.record import Record
from commoncanvas.table.report import Report

IMAGE_ROWS = 16
"""Rows read at once if a column contains images."""
_BUFFER = 1 << 20

_BAD_VALUE = (UnicodeDecodeError, ValueError, OverflowError, pa.ArrowException)


def parquet_schema(path: Path) -> pa.Schema:
    """The schema of a Parquet file. Raises SourceError if the file is not readable."""
    with _explained(path, "is not a readable Parquet file"), pq.ParquetFile(path) as file:
        return _named(path, file.schema_arrow)


def parquet_rows(
    path: Path,
    report: Report,
    columns: Sequence[str] | None = None,
    batch_size: int = 1024,
    name: str | None = None,
) -> Iterator[Record]:
    """Yield (`name.parquet row 17`, column -> value) for `columns`; a row with an unreadable value is skipped.

    Raises SourceError if the file becomes unreadable or would need too much memory.
    """
    name = name or path.name
    done = 0
    with _explained(path, "is not a readable Parquet file"):
        # Read pages when needed: without a buffer, pyarrow reads a whole row group of images at once.
        file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    with file:
        with _explained(path, "is not a readable Parquet file"):
            batch_size = min(batch_size, rows_at_once(path, columns))
        batches = file.iter_batches(batch_size, columns=columns and list(columns), use_threads=False)
        while True:
            with _explained(path, f"can't be read after row {done}"):
                batch = next(batches, None)
            if batch is None:
                return
            yield from batch_rows(batch, name, done, report)
            done += len(batch)


def stream_rows(path: Path, report: Report) -> Iterator[Record]:
    """The same for a file in Arrow's streaming format, which `datasets` writes."""
    done = 0
    with _explained(path, "is not a readable Arrow stream"):
        check_stream(path)
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
    while True:
        with _explained(path, f"can't be read after row {done}"):
            batch = next(reader, None)
            if batch is None:
                return
            # Arrow doesn't check offsets in a stream: invalid ones could read other memory.
            batch.validate(full=True)
        for start in range(0, len(batch), IMAGE_ROWS):
            part = batch.slice(start, IMAGE_ROWS)
            yield from batch_rows(part, path.name, done, report)
            done += len(part)


def stream_schema(path: Path) -> pa.Schema:
    """The schema of an Arrow stream. Raises SourceError if the file is not readable."""
    with _explained(path, "is not a readable Arrow stream"):
        return _named(path, pa.ipc.open_stream(pa.memory_map(str(path))).schema)


def _named(path: Path, schema: pa.Schema) -> pa.Schema:
    """Return the schema. Raises UnicodeDecodeError for a name that isn't UTF-8, SourceError for a duplicate name."""
    names = schema.names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(f"{path} names the column {twice!r} twice; give each a name of its own")
    return schema


def batch_rows(batch: pa.RecordBatch, name: str, done: int, report: Report) -> Iterator[Record]:
    """Rows of one batch; the first has the number `done` + 1."""
    try:
        records = batch.to_pylist()
    except _BAD_VALUE:
        # A value is unreadable, such as text that isn't UTF-8 or a date after the year 9999: find its row.
        yield from _row_by_row(batch, name, done, report)
        return
    for number, record in enumerate(records, done + 1):
        yield f"{name} row {number}", record


def _row_by_row(batch: pa.RecordBatch, name: str, done: int, report: Report) -> Iterator[Record]:
    for index in range(len(batch)):
        where, record = f"{name} row {done + index + 1}", dict[str, Any]()
        for column, values in zip(batch.schema.names, batch.columns, strict=True):
            try:
                record[column] = values[index].as_py()
            except _BAD_VALUE as error:
                report.skip(where, "bad value", f"field {column}: {str(error)[:100]}")
                break
        else:
            yield where, record


@contextmanager
def _explained(path: Path, problem: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that aren't UTF-8
        raise SourceError(f"{path} {problem}: {one_line(error)}") from error
