"""JSON answers of web services, kept as files: one document, several one after the other, or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from commoncanvas.catalog.sources.records import Record, parse_json
from commoncanvas.catalog.sources.source import Report
from commoncanvas.errors import SourceError

SUFFIXES = (".json", ".jsonl", ".ndjson")
MAX_DOCUMENT = 64 << 20
MAX_LINE = 64 << 20


def documents(path: Path, report: Report) -> Iterator[Record]:
    """(`answers.jsonl:17` or `answer.json`, a JSON object); a bad line costs itself.

    A `.json` file is read whole. Raises SourceError where it is no JSON from some place on, or too large.
    """
    lines = path.suffix.lower() != ".json"
    yield from (_lines if lines else _whole)(path, report)


def _lines(path: Path, report: Report) -> Iterator[Record]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            where = f"{path.name}:{number}"
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                _skip_line(file)
                report.skip(where, "line too long", f"more than {MAX_LINE >> 20} MiB")
            elif line.strip(b" \t\r\n\xef\xbb\xbf"):
                record = parse_json(where, line, report)
                if record is not None:
                    yield where, record


def _skip_line(file: BinaryIO) -> None:
    while (part := file.readline(MAX_LINE)) and not part.endswith(b"\n"):
        pass


def _whole(path: Path, report: Report) -> Iterator[Record]:
    size = path.stat().st_size
    if size > MAX_DOCUMENT:
        raise SourceError(
            f"{path} has {size:,} bytes, too many for one JSON document; save it with one object a line, as .jsonl"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    for number, document in enumerate(_parsed(path, text), 1):
        where = path.name if number == 1 else f"{path.name} document {number}"
        items = document if isinstance(document, list) else [document]
        for index, item in enumerate(items, 1):
            place = f"{where} item {index}" if isinstance(document, list) else where
            if isinstance(item, dict):
                yield place, item
            else:
                report.skip(place, "malformed JSON", f"an object was expected, not {type(item).__name__}")


def _parsed(path: Path, text: str) -> Iterator[Any]:
    """The JSON values that stand one after the other."""
    decoder = json.JSONDecoder()
    at = _next(text, 0)
    if at == len(text):
        raise SourceError(f"{path} is empty; it must hold JSON")
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path} is no JSON, or ends in its middle: {str(error)[:200]}") from error
        yield value
        at = _next(text, end)


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
