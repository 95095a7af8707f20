"""Read files of prompts: text, lines of JSON, and checks of what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.suite_prompt import SuitePrompt


def read_text(path: Path) -> str:
    """A UTF-8 file. Raises EvaluationError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"prompts file {path} can't be read as UTF-8 text: {one_line(error)}"
        ) from error


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place for messages, record) of each line that isn't empty. Raises EvaluationError that names the line."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise EvaluationError(
                f"{place}: not JSON ({one_line(error)}); give the published file"
            ) from error
        if not isinstance(record, dict):
            raise EvaluationError(f"{place}: not a JSON object; give the published file")
        yield place, record


def text_of(record: Mapping[str, Any], name: str, place: str) -> str:
    """The text in the field `name`. Raises EvaluationError if there is none."""
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise EvaluationError(f"{place}: no text in {name!r}; give the published file")
    return value.strip()


def numbered(index: int) -> str:
    """00017: the name of prompt 17 of a file, counted from 0."""
    return f"{index:05}"


def checked(path: Path, prompts: Sequence[SuitePrompt]) -> list[SuitePrompt]:
    """The prompts. Raises EvaluationError if there are none, or two with one name."""
    if not prompts:
        raise EvaluationError(f"prompts file {path} has no prompts")
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.name in seen:
            raise EvaluationError(f"prompts file {path} has two prompts called {prompt.name!r}; remove one")
        seen.add(prompt.name)
    return list(prompts)
