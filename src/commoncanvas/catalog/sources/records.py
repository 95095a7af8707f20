"""Reading metadata files: CSV, TSV, JSON lines and Parquet become records, each with its place in the file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas.catalog.sources.source import Report
from commoncanvas.catalog.sources.tables import batch_rows
from commoncanvas.errors import SourceError

Record = tuple[str, dict[str, Any]]
"""(where it stands, such as `metadata.csv:17`; column -> value)"""

MAX_FIELD_CHARACTERS = 16_000_000
MAX_HEADER_CHARACTERS = 1_000_000

DELIMITERS = ",;\t|"
"""What may stand between the fields of a `.csv`; a `.tsv` has tabs."""


def check_metadata(path: Path) -> list[str] | None:
    """The columns that a metadata file says it has; None where each record says for itself.

    Raises SourceError if the file can't be used at all.
    """
    if path.suffix.lower() not in READERS:
        raise SourceError(f"metadata {path} is of no known kind; it must be one of: {', '.join(READERS)}")
    if not path.is_file():
        raise SourceError(f"metadata {path} is not a file; give one with --metadata")
    match path.suffix.lower():
        case ".csv" | ".tsv":
            columns = _csv_header(path)
        case ".parquet":
            columns = list(_parquet(path).schema_arrow.names)
        case _:
            return None
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise SourceError(
            f"metadata {path} names the column {repeated[0]!r} twice; give each a name of its own"
        )
    return columns


def read_records(path: Path, report: Report, name: str | None = None) -> Iterator[Record]:
    """Records of a metadata file that `check_metadata` has passed, streaming; bad ones go to `report.skip`.

    `name` is how places in the file are named; by default the file's own name.
    """
    return READERS[path.suffix.lower()](path, name or path.name, report)


def _csv_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            header: list[str] = next(_csv_reader(path, file), [])
            ",".join(header).encode()
        except (csv.Error, UnicodeEncodeError) as error:
            raise SourceError(
                f"metadata {path} has no readable first line: {error}; save it as UTF-8"
            ) from error
    if not header:
        raise SourceError(f"metadata {path} is empty; its first line must name the columns")
    return header


def _read_csv(path: Path, name: str, report: Report) -> Iterator[Record]:
    # Bytes that aren't UTF-8 become surrogates, so that one bad cell is seen in its place and costs its row
    # only.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = _csv_reader(path, file)
        header = next(reader)
        while True:
            where = f"{name}:{reader.line_num + 1}"
            try:
                row = next(reader, None)
            except csv.Error as error:
                report.skip(where, "malformed row", str(error))
                continue
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(header):
                report.skip(where, "wrong column count", f"{len(row)} fields, the header has {len(header)}")
                continue
            record = dict(zip(header, row, strict=True))
            if _encoded(where, record, report):
                yield where, record


def _csv_reader(path: Path, file: TextIO) -> Any:
    """A reader whose next row is the header."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    if path.suffix.lower() == ".tsv":
        return csv.reader(file, delimiter="\t", strict=True)
    first = file.readline(MAX_HEADER_CHARACTERS)
    file.seek(0)
    stated = re.fullmatch(r'"?sep=(.)"?\s*', first)
    reader = csv.reader(file, delimiter=stated[1] if stated else _delimiter(first), strict=True)
    if stated:  # Excel's line before the header
        next(reader)
    return reader


def _delimiter(header: str) -> str:
    """The mark that splits a header into the most columns; a comma if none does."""
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _read_jsonl(path: Path, name: str, report: Report) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{name}:{number}"
            if line.strip(b" \t\r\n\xef\xbb\xbf"):
                record = parse_json(where, line, report)
                if record is not None:
                    yield where, record


def parse_json(where: str, data: bytes, report: Report) -> dict[str, Any] | None:
    """A JSON object; None, and a word to `report`, for anything else."""
    try:
        record = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        report.skip(where, "bad encoding", f"not UTF-8 at byte {error.start}")
        return None
    except (ValueError, RecursionError) as error:
        report.skip(where, "malformed JSON", str(error)[:200])
        return None
    if not isinstance(record, dict):
        report.skip(where, "malformed JSON", f"an object was expected, not {type(record).__name__}")
        return None
    return record if _encoded(where, record, report) else None


def _read_parquet(path: Path, name: str, report: Report) -> Iterator[Record]:
    row = 0
    try:
        for batch in _parquet(path).iter_batches(batch_size=1024):
            yield from batch_rows(batch, name, row, report)
            row += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"metadata {path} can't be read after row {row}: {error}") from error


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"metadata {path} is not a Parquet file: {error}") from error


def _encoded(where: str, record: dict[str, Any], report: Report) -> bool:
    """Whether all text is text: no cell with bytes that weren't UTF-8, or half of a JSON surrogate pair."""
    for name, value in record.items():
        for text in (name, *_texts(value)):
            try:
                text.encode()
            except UnicodeEncodeError:
                shown = name.encode(errors="replace").decode()
                report.skip(where, "bad encoding", f"field {shown!r} is not UTF-8")
                return False
    return True


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else ()


READERS: dict[str, Callable[[Path, str, Report], Iterator[Record]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
