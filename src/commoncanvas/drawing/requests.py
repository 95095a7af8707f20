"""What to draw: prompts with their settings, given as texts or as a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from commoncanvas.core.errors import RecipeError
from commoncanvas.options.generate import DrawOptions


class Request(NamedTuple):
    """One image to draw; `options.count` doesn't count."""

    prompt: str
    options: DrawOptions


HINTS = get_type_hints(DrawOptions)
CHOICES = {name: get_args(hint) for name, hint in HINTS.items() if get_origin(hint) is Literal}
KINDS: dict[str, type] = {"prompt": str} | {
    name: str if name in CHOICES else next(kind for kind in get_args(hint) or (hint,) if kind is not NoneType)
    for name, hint in HINTS.items()
}
"""The columns that a CSV file of prompts may have, and the types of their values."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def requests_of(prompts: Sequence[str], file: str | Path | None, options: DrawOptions) -> list[Request]:
    """The images of each prompt, then those of a file's rows. `options` are for what a row leaves empty.

    Raises RecipeError for a file that can't be read, and if there is nothing to draw.
    """
    rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in prompts]
    rows += read_prompts(Path(file)) if file is not None else []
    if not rows:
        raise RecipeError("there is nothing to draw; give a prompt, or a file of prompts")
    found: list[Request] = []
    for row in rows:
        prompt = row.pop("prompt")
        own = replace(options, **row)
        if own.count < 1:
            raise RecipeError(f"count {own.count}: give at least 1")
        found += [Request(prompt, replace(own, seed=own.seed + number)) for number in range(own.count)]
    return found


def read_prompts(path: Path) -> list[dict[str, Any]]:
    """A file's prompts, each with the settings that its row has.

    A CSV or TSV file has the columns KINDS; only `prompt` is needed. In any other file each line is a prompt. Empty
    lines are skipped. Raises RecipeError that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} can't be read as UTF-8 text: {error}") from error
    if delimiter := DELIMITERS.get(path.suffix.lower()):
        return list(_rows(path, text, delimiter))
    return [{"prompt": line.strip()} for line in text.splitlines() if line.strip()]


def _rows(path: Path, text: str, delimiter: str) -> Iterator[dict[str, Any]]:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    names: list[str] = []
    try:
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip().lower() for cell in cells]
                if "prompt" not in names or set(names) - set(KINDS) or len(set(names)) < len(names):
                    raise RecipeError(
                        f"{path}, line {line}: the first line names the columns; prompt is needed, others are "
                        f"{', '.join(list(KINDS)[1:])}; found {', '.join(names)}"
                    )
                continue
            if len(cells) != len(names):
                raise RecipeError(
                    f"{path}, line {line}: {len(cells)} cells, but {len(names)} columns; quote text that contains "
                    f"{delimiter!r}"
                )
            row = {
                name: _value(path, line, name, cell.strip())
                for name, cell in zip(names, cells, strict=True)
                if cell.strip()
            }
            if "prompt" not in row:
                raise RecipeError(f"{path}, line {line}: no prompt")
            yield row
    except csv.Error as error:
        raise RecipeError(f"{path}, line {reader.line_num}: {error}") from error


def _value(path: Path, line: int, name: str, cell: str) -> Any:
    if cell not in CHOICES.get(name, (cell,)):
        raise RecipeError(f"{path}, line {line}: {name} {cell!r} is not one of {', '.join(CHOICES[name])}")
    try:
        return KINDS[name](cell)
    except ValueError as error:
        kind = "a number" if KINDS[name] is float else "a whole number"
        raise RecipeError(f"{path}, line {line}: {name} {cell!r} is not {kind}") from error
