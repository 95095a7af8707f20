"""The YAML file that `--about` names: read for models and for data sets, and written empty by `release about`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from commoncanvas.config.schema import Schema
from commoncanvas.core.errors import ReleaseError
from commoncanvas.core.files import why
from commoncanvas.core.text import one_line
from commoncanvas.release.about import (
    ADDRESS,
    DOI,
    MONTH,
    VERSION,
    About,
    DatasetAnswers,
    PartAnswer,
    SourceAnswer,
    hint,
)
from commoncanvas.release.questions import questions

FORMS = {
    MONTH: "a month; write it as 2026-08",
    ADDRESS: "an address; write it as https://museum.example/data",
    DOI: "a DOI; write it as 10.5281/zenodo.1",
    VERSION: "a version; write it as 1.0.0",
}
"""Pattern of an answer -> what it is, and an example."""
INNER: dict[str, type[Schema]] = {"sources": SourceAnswer, "parts": PartAnswer, "dataset": DatasetAnswers}
WIDTH = 100


def load_about(path: str | Path | None) -> About:
    """Read the answers in a YAML file; without a file, none is given.

    Raises ReleaseError that names the file and each key that is unknown, there twice, or has a wrong value.
    """
    if path is None:
        return About.model_validate({})
    try:
        text = Path(path).read_text(encoding="utf-8")
        fields, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise ReleaseError(f"{path} can't be read: {why(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path} is not valid YAML: {one_line(error)}") from error
    if not isinstance(fields, dict | None):
        raise ReleaseError(f"{path} must be a mapping of answers, such as provider: My Museum")
    if twice := list(_repeated(node)):
        raise ReleaseError(f"{path}: {'; '.join(twice)}; keep one of them, with all that is below it")
    given = {str(name): value for name, value in (fields or {}).items()}
    try:
        return About.model_validate(given, context={"folder": Path(path).parent})
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ReleaseError(f"{path}: {problems}") from error


def template() -> str:
    """An empty file of answers: each question is a comment above its key."""
    head = (
        "# Answers for the documents of a release. Leave empty what you can't answer: the documents say so."
    )
    return "\n".join([head, *_questions(About, "")]) + "\n"


def _questions(schema: type[Schema], indent: str) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        needed = indent or name in INNER or (field.json_schema_extra or {}).get("needed")  # type: ignore[union-attr]
        words = f"{field.description}{'' if needed else ' (optional)'}"
        yield ""
        yield from (f"{indent}# {line}" for line in textwrap.wrap(words, WIDTH))
        yield f"{indent}{name}:"
        if field.annotation is DatasetAnswers:
            yield from _questions(DatasetAnswers, "  ")


def _repeated(node: yaml.Node | None) -> Iterator[str]:
    """Keys that a mapping has twice; YAML would keep the last one."""
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            yield f"{key.value} is in line {lines[key.value]} and in line {line}"
        lines[str(key.value)] = line
        yield from _repeated(value)


def _explain(problem: Any) -> str:
    place = tuple(map(str, problem["loc"]))
    name = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"there is no answer {name}{_elsewhere(place)}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{name}: {problem['input']!r} is not {FORMS[problem['ctx']['pattern']]}"
    words = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {words[0].lower()}{words[1:]}"


def _elsewhere(place: tuple[str, ...]) -> str:
    """Where an unknown key belongs, or the known one that it is near to."""
    key = place[-1]
    asked = [one.key for one in questions() if not one.field]
    places: dict[str, type[Schema]] = {"the top of the file": About, "dataset": DatasetAnswers}
    for where, schema in places.items():
        if key in schema.model_fields:
            return f"; {key} belongs {'at' if schema is About else 'under'} {where}"
    if key in asked:
        return f"; {key} belongs under dataset.answers"
    known = (INNER[place[0]] if len(place) > 1 else About).model_fields
    return hint(key, known) or f"; there are: {', '.join(sorted(known))}"
