"""Rows of a CSV file of a person or a crowd platform, with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from commoncanvas.core.errors import ArenaError
from commoncanvas.core.files import why
from commoncanvas.core.text import one_line
from commoncanvas.readers.delimited import form_of


def read_rows(
    path: str | Path, columns: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place such as `votes.csv, line 17`, name -> field) for each row; fields are stripped.

    `columns`: for each name, the headings under which it may stand, first choice first. A name whose first choice is
    "" may be missing; its field is then "". Raises ArenaError for a file that can't be read or that lacks a column.
    """
    path = Path(path)
    try:
        form = form_of(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            for _ in range(form.begin):
                file.readline()
            reader = csv.reader(file, delimiter=form.delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            places = _places(path, header, columns)
            for row in reader:
                place = f"{path.name}, line {reader.line_num + form.begin}"
                if len(row) not in (0, len(header)):
                    raise ArenaError(
                        f"{place}: {len(row)} fields, but the header has {len(header)}; correct this line"
                    )
                if any(field.strip() for field in row):
                    yield place, {name: "" if at is None else row[at].strip() for name, at in places.items()}
    except OSError as error:
        raise ArenaError(f"{path} can't be read: {why(error)}") from error
    except UnicodeDecodeError as error:
        raise ArenaError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise ArenaError(
            f"{path.name}, line {reader.line_num + form.begin}: {error}; correct this line"
        ) from error


def _places(path: Path, header: list[str], columns: Mapping[str, tuple[str, ...]]) -> dict[str, int | None]:
    """Where each name stands; None for one that may be missing and is."""
    lower = [name.lower() for name in header]
    found: dict[str, int | None] = {}
    for name, headings in columns.items():
        at = next((lower.index(each.lower()) for each in headings if each and each.lower() in lower), None)
        if at is None and headings[0]:
            named = ", ".join(one_line(each, 40) for each in header[:20]) or "nothing"
            raise ArenaError(f"{path.name}, line 1: no column {' or '.join(headings)}; found {named}")
        found[name] = at
    return found
