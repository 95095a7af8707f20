"""Read rows of CSV and TSV files: detect separators and quoting, and report each line that can't be read."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple, TextIO

from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report

DELIMITERS = ",;\t|"
"""Possible separators of a `.csv`; a `.tsv` has tabs."""
MAX_CHARACTERS = 1_000_000
"""Limit for a line, and for a field."""
MAX_LINES = 1000
"""Limit for a row with line ends in quoted fields."""
_SAMPLE = 1 << 20
"""Characters that are read to detect the format."""

# Escapes of COPY in PostgreSQL's text format (https://www.postgresql.org/docs/current/sql-copy.html).
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_NULL, _END = r"\N", r"\."
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Form:
    """The format of a file's rows."""

    delimiter: str
    quoted: bool = True
    """Fields may be quoted and then contain line ends. If False, each line is a row."""
    escaped: bool = False
    """Fields use COPY's escapes for special characters."""
    begin: int = 0
    """Number of lines before the header."""


class Fault(NamedTuple):
    """Why a line is not a valid row."""

    reason: str
    detail: str


class Line(NamedTuple):
    """One row, or an invalid line. `number` is the number of its first line, `raw` has all its lines."""

    number: int
    fields: list[str | None] | Fault
    raw: Sequence[str | None]


def header(path: Path) -> list[str]:
    """The column names. Raises SourceError if the first line can't be read."""
    form = form_of(path)
    with _opened(path, form) as file:
        first = next(_lines(file, form), None)
    if first is None:
        raise SourceError(f"metadata {path} is empty; its first line must name the columns")
    if isinstance(first.fields, Fault):
        raise SourceError(f"the first line of metadata {path} can't be read: {first.fields.detail}")
    names = [name or "" for name in first.fields]
    try:
        ",".join(names).encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"the first line of metadata {path} can't be read: {error}; save it as UTF-8"
        ) from error
    return names


def read_rows(path: Path, name: str, report: Report) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield (place such as `name:17`, column -> field) for each row of a file with a `header`.

    A field is None for COPY's null. Bytes that aren't UTF-8 become surrogates. Invalid lines, and lines with another
    number of fields than the header, go to `report.skip`.
    """
    form = form_of(path)
    columns = header(path)
    with _opened(path, form) as file:
        lines = _lines(file, form)
        next(lines)
        for number, fields, _ in lines:
            where = f"{name}:{number}"
            if isinstance(fields, Fault):
                report.skip(where, *fields)
            else:
                yield where, dict(zip(columns, fields, strict=True))


def form_of(path: Path) -> Form:
    """Detect the format from the file name and the first part of the file."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if path.suffix.lower() == ".tsv":
            return _tsv_form(file.read(_SAMPLE), len(file.read(1)) == 0)
        first = file.readline(_SAMPLE)
    stated = re.fullmatch(r'"?sep=(.)"?\s*', first)
    # Excel's `sep=` line names the separator; else choose the one that gives the most columns.
    return Form(stated[1], begin=1) if stated else Form(max(DELIMITERS, key=lambda mark: _width(first, mark)))


def _width(line: str, delimiter: str) -> int:
    csv.field_size_limit(MAX_CHARACTERS)
    return len(next(csv.reader([line], delimiter=delimiter), []))


def _tsv_form(sample: str, whole: bool) -> Form:
    """A `.tsv` is quoted only if this is clear. It has COPY's escapes if all its backslashes are such escapes."""
    lines = [line.removesuffix("\r") for line in sample.split("\n")]
    if not whole:
        lines.pop()
    if _plainly_quoted(lines):
        return Form("\t")
    text = "\n".join(lines)
    escaped = "\\" in text and "\\" not in re.sub(r"\\[bfnrtvN.\\]", "", text)
    return Form("\t", quoted=False, escaped=escaped)


def _plainly_quoted(lines: list[str]) -> bool:
    """Whether quotation marks are CSV quoting, and not only part of the text, such as a quoted title."""
    table = [line.split("\t") for line in lines if line]
    opened = [field for row in table for field in row if field.startswith('"')]
    if not opened:
        return False
    if all(_QUOTED.fullmatch(name) for name in table[0]):
        return True
    width = len(table[0])
    if all(_QUOTED.fullmatch(field) for field in opened):
        # Clear signs: a doubled mark within a field, or a column in which all fields are quoted.
        body = [row for row in table[1:] if len(row) == width]
        return any('""' in field[1:-1] for field in opened) or any(
            len(body) > 1 and all(row[column].startswith('"') for row in body) for column in range(width)
        )
    # Some quoted fields span lines or tabs. It is quoting if that loses fewer rows than plain lines would.
    joined = list(_quoted(StringIO("\n".join(lines), newline=""), Form("\t")))
    swallowed = sum(
        len(raw)
        for _, _, raw in joined
        if len(raw) > 1 and all(line is not None and line.count("\t") + 1 == width for line in raw)
    )
    lost = swallowed + sum(isinstance(fields, Fault) for _, fields, _ in joined)
    return lost < sum(len(row) != width for row in table)


def _opened(path: Path, form: Form) -> TextIO:
    newline = "" if form.quoted else "\n"
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _lines(file: TextIO, form: Form) -> Iterator[Line]:
    for _ in range(form.begin):
        _next_line(file)
    for line in (_quoted if form.quoted else _plain)(file, form):
        yield line._replace(number=line.number + form.begin)


def _plain(file: TextIO, form: Form) -> Iterator[Line]:
    number = width = 0
    while (line := _next_line(file)) != "":
        number += 1
        if line is None:
            yield Line(number, _TOO_LONG, [line])
            continue
        text = line.removesuffix("\n").removesuffix("\r")
        if not text or (form.escaped and text == _END):
            continue
        fields: list[str | None] = list(text.split(form.delimiter))
        if form.escaped and "\\" in text:
            fields = [_unescaped(field or "") for field in fields]
        width = width or len(fields)
        yield Line(number, _counted(fields, width), [line])


def _quoted(file: TextIO, form: Form) -> Iterator[Line]:
    csv.field_size_limit(MAX_CHARACTERS)
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
    width = 0
    while True:
        number = lines.begin()
        found: list[str | None] | Fault
        try:
            row = next(reader, None)
            found = _counted(list(row), width or len(row)) if row else []
        except csv.Error as error:
            row, found = [], Fault("malformed row", str(error))
        if row is None:
            return
        if isinstance(found, Fault):
            # A stray quotation mark joined several rows: skip only the first line and read the others again.
            yield Line(number, found, lines.row[:1])
            lines.give_back()
        elif found:
            width = width or len(found)
            yield Line(number, found, lines.row)


class _Lines:
    """The lines of a file, as an iterator for `csv.reader`."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.number = 0
        self.row: list[str | None] = []
        """The lines of the current row."""
        self._again: deque[str | None] = deque()

    def begin(self) -> int:
        """Start a row; returns the number of its first line."""
        self.row = []
        return self.number + 1

    def give_back(self) -> None:
        """Read all lines of the row again, except the first."""
        self._again.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row[1:])

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else _next_line(self.file)
        if line == "":
            raise StopIteration
        self.number += 1
        self.row.append(line)
        if line is None:
            raise csv.Error(_TOO_LONG.detail)
        if len(self.row) > MAX_LINES:
            raise csv.Error(f"a quoted field has more than {MAX_LINES:,} lines")
        return line


_TOO_LONG = Fault("malformed row", f"a line of more than {MAX_CHARACTERS:,} characters")


def _next_line(file: TextIO) -> str | None:
    """The next line; "" at the end of the file. A line that is too long is skipped and gives None."""
    line = file.readline(MAX_CHARACTERS)
    if len(line) < MAX_CHARACTERS or line.endswith(("\n", "\r")):
        return line
    while (rest := file.readline(MAX_CHARACTERS)) and not rest.endswith(("\n", "\r")):
        pass
    return None


def _counted(fields: list[str | None], width: int) -> list[str | None] | Fault:
    if len(fields) == width:
        return fields
    return Fault("wrong column count", f"{len(fields)} fields, but the header has {width}")


def _unescaped(field: str) -> str | None:
    return None if field == _NULL else re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), field)
