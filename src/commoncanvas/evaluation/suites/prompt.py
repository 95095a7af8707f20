"""A benchmark's prompt, and helpers that read files of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import RecipeError
from commoncanvas.core.text import one_line


@dataclass(frozen=True)
class Question:
    """A question about the image of a prompt.

    `parents`: places of the questions, in the prompt's list, that must be answered with yes before this one counts.
    """

    text: str
    answer: str = "Yes"
    categories: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[int, ...] = ()


@dataclass(frozen=True)
class SuitePrompt:
    """One prompt. `name` is unique in its suite; `categories`: grouping -> the prompt's category in it.

    `record`: what the published file says of it.
    """

    name: str
    text: str
    categories: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def read_text(path: Path) -> str:
    """A UTF-8 file. Raises RecipeError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"prompts file {path} can't be read as UTF-8 text: {one_line(error)}") from error


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place for messages, record) of each line that isn't empty. Raises RecipeError that names the line."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RecipeError(f"{place}: not JSON ({one_line(error)}); give the published file") from error
        if not isinstance(record, dict):
            raise RecipeError(f"{place}: not a JSON object; give the published file")
        yield place, record


def text_of(record: Mapping[str, Any], name: str, place: str) -> str:
    """The text in the field `name`. Raises RecipeError if there is none."""
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RecipeError(f"{place}: no text in {name!r}; give the published file")
    return value.strip()


def numbered(index: int) -> str:
    """00017: the name of prompt 17 of a file, counted from 0."""
    return f"{index:05}"


def checked(path: Path, prompts: Sequence[SuitePrompt]) -> list[SuitePrompt]:
    """The prompts. Raises RecipeError if there are none, or two with one name."""
    if not prompts:
        raise RecipeError(f"prompts file {path} has no prompts")
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.name in seen:
            raise RecipeError(f"prompts file {path} has two prompts called {prompt.name!r}; remove one")
        seen.add(prompt.name)
    return list(prompts)
