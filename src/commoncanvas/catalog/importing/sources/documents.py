"""JSON responses of web services, saved as files: one document, several in sequence, or one per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commoncanvas.catalog.importing.sources.records import (
    MAX_JSON,
    MAX_MEMORY,
    json_lines,
    json_memory,
    once_each,
)
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.record import Record
from commoncanvas.table.report import Report

SUFFIXES = (".json", ".jsonl", ".ndjson")


def documents(path: Path, report: Report) -> Iterator[Record]:
    """Yield (`answers.jsonl:17` or `answer.json`, a JSON object); an invalid line is skipped.

    A `.json` file is read as a whole. Raises SourceError if it is too large, or at the place where it is not JSON.
    """
    if path.suffix.lower() != ".json":
        return json_lines(path, path.name, report)
    return _whole(path, report)


def _whole(path: Path, report: Report) -> Iterator[Record]:
    with path.open("rb") as file:
        data = file.read(MAX_JSON + 1)
    if len(data) > MAX_JSON or json_memory(data) > MAX_MEMORY:
        raise SourceError(
            f"{path} is too large for one JSON document; save it as .jsonl, with one object per line"
        )
    try:
        text = data.decode("utf-8-sig")
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
                report.skip(place, "malformed JSON", f"expected an object, found {type(item).__name__}")


def _parsed(path: Path, text: str) -> Iterator[Any]:
    """JSON values that follow each other."""
    decoder = json.JSONDecoder(object_pairs_hook=once_each)
    at = _next(text, 0)
    if at == len(text):
        raise SourceError(f"{path} is empty; it must hold JSON")
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path} is not valid JSON, or is cut off: {str(error)[:200]}") from error
        yield value
        at = _next(text, end)


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
