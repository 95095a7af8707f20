"""Read metadata files: CSV, TSV, JSON lines and Parquet become records, each with its place in the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.core.errors import SourceError
from commoncanvas.core.text import encodes
from commoncanvas.readers.delimited import header, read_rows
from commoncanvas.readers.record import Record
from commoncanvas.readers.tables import parquet_rows, parquet_schema
from commoncanvas.table.report import Report

MAX_JSON = 64 << 20
"""Largest JSON document or line, in bytes."""
MAX_MEMORY = 700 << 20
"""Most memory for a parsed JSON document or line, in bytes."""


def check_metadata(path: Path) -> list[str] | None:
    """The columns of a metadata file; None for a format in which each record has its own.

    Raises SourceError if the file can't be used.
    """
    if path.suffix.lower() not in READERS:
        raise SourceError(
            f"metadata {path} has an unknown format; its name must end in: {', '.join(READERS)}"
        )
    if not path.is_file():
        raise SourceError(f"metadata {path} is not a file; give one with --metadata")
    match path.suffix.lower():
        case ".csv" | ".tsv":
            columns = header(path)
        case ".parquet":
            columns = list(parquet_schema(path).names)
        case _:
            return None
    if pair := fields.clash(columns):
        raise SourceError(fields.two_of_one_name(f"metadata {path}", pair))
    return columns


def read_records(path: Path, report: Report, name: str | None = None) -> Iterator[Record]:
    """Stream the records of a metadata file that passed `check_metadata`; invalid records go to `report.skip`.

    Messages name the file as `name`; the default is the file name.
    """
    return READERS[path.suffix.lower()](path, name or path.name, report)


def _read_delimited(path: Path, name: str, report: Report) -> Iterator[Record]:
    for where, record in read_rows(path, name, report):
        if _encoded(where, record, report):
            yield where, record


def _read_json_lines(path: Path, name: str, report: Report) -> Iterator[Record]:
    for where, record in json_lines(path, name, report):
        if _encoded(where, record, report):
            yield where, record


def json_lines(path: Path, name: str, report: Report) -> Iterator[Record]:
    """Yield (`name:17`, a JSON object) for each line that isn't blank; an invalid line is skipped.

    Texts may hold half of a surrogate pair: a line can have many results, and one bad result must not skip the others.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_JSON):
            number += 1
            where = f"{name}:{number}"
            if len(line) == MAX_JSON and not line.endswith(b"\n"):
                while (rest := file.readline(MAX_JSON)) and not rest.endswith(b"\n"):
                    pass
                report.skip(where, "line too long", f"more than {MAX_JSON >> 20} MiB")
            elif line.strip(b" \t\r\n\xef\xbb\xbf"):
                record = _json_object(where, line, report)
                if record is not None:
                    yield where, record


def parse_json(where: str, data: bytes, report: Report) -> dict[str, Any] | None:
    """Parse a JSON object whose texts can be encoded. Anything else returns None and goes to `report.skip`."""
    record = _json_object(where, data, report)
    return record if record is not None and _encoded(where, record, report) else None


def _json_object(where: str, data: bytes, report: Report) -> dict[str, Any] | None:
    if len(data) > MAX_JSON or json_memory(data) > MAX_MEMORY:
        report.skip(where, "JSON too large", f"{len(data):,} bytes")
        return None
    try:
        record = json.loads(data.decode("utf-8-sig"), object_pairs_hook=once_each)
    except UnicodeDecodeError as error:
        report.skip(where, "bad encoding", f"not UTF-8 at byte {error.start}")
        return None
    except (ValueError, RecursionError) as error:
        report.skip(where, "malformed JSON", str(error)[:200])
        return None
    if not isinstance(record, dict):
        report.skip(where, "malformed JSON", f"expected an object, found {type(record).__name__}")
        return None
    return record


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object. Raises ValueError for a duplicate name; `json` would silently use the last value."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate name {next(name for name in names if names.count(name) > 1)!r}")
    return record


def _read_parquet(path: Path, name: str, report: Report) -> Iterator[Record]:
    return parquet_rows(path, report, name=name)


def json_memory(data: bytes) -> int:
    """Upper bound for the memory of parsed JSON: 4 bytes per character, and one object per `,`, `[` and `{`."""
    return 4 * len(data) + 160 * sum(map(data.count, (b",", b"[", b"{")))


def _encoded(where: str, record: dict[str, Any], report: Report) -> bool:
    """Whether all texts can be encoded: no cell had bytes that aren't UTF-8, or half of a JSON surrogate pair."""
    for name, value in record.items():
        if not all(map(encodes, (name, *_texts(value)))):
            shown = name.encode(errors="replace").decode()
            report.skip(where, "bad encoding", f"field {shown!r} is not UTF-8")
            return False
    return True


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, including the names of its fields, at any depth, without recursion."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as fields:
                waiting += [*fields, *fields.values()]
            case list() as values:
                waiting += values


READERS: dict[str, Callable[[Path, str, Report], Iterator[Record]]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
