"""What only the publisher of a data set can say: read from a YAML file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from commoncanvas.config.schema import Schema
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import why
from commoncanvas.core.text import markdown_cell, one_line, web_address
from commoncanvas.release.about import About as ModelAbout

# Mail addresses that CommonMark 0.31 (section 6.5) links.
_MAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*", re.ASCII)


class DataAbout(Schema):
    """Facts about a data set that its table doesn't have. Unknown keys are errors."""

    title: str | None = None
    """Name of the data set; default: the folder's."""
    publisher: str | None = None
    """Team or organisation."""
    authors: tuple[str, ...] = ()
    """People to cite; default: the publisher."""
    contact: str | None = None
    """Where people ask for a removal: a mail address or a page."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    """The page of the data set."""
    doi: str | None = Field(default=None, pattern=r"^10\.\d{4,9}/\S+$")
    version: str | None = Field(default=None, pattern=r"^\d+\.\d+\.\d+$")
    """MAJOR.MINOR.PATCH (https://semver.org); default: the catalog's version."""
    license: str | None = None
    """Of the table itself, not of the images: an SPDX id, such as CDLA-Permissive-2.0."""
    answers: dict[str, str | None] = Field(default_factory=dict)
    """Answers to questions of the datasheet, by their keys."""


def linked(text: str) -> str:
    """A mail address or a page as a link in Markdown; anything else as text."""
    address = re.sub("^mailto:", "", text.strip(), flags=re.IGNORECASE)
    link = address if _MAIL.fullmatch(address) else web_address(address)
    return "<" + link.replace("<", "%3C").replace(">", "%3E") + ">" if link else markdown_cell(text)


def read_about(path: str | Path | None, questions: Iterable[str]) -> DataAbout:
    """The file at `path`; without one, nothing is known. `questions`: keys of the datasheet's questions.

    Raises CatalogError, which names the keys that are wrong.
    """
    if path is None:
        return DataAbout()
    try:
        text = Path(path).read_text(encoding="utf-8")
        read, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise CatalogError(f"{path} can't be read: {why(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} is not valid YAML: {one_line(error)}") from error
    known = tuple(questions)
    if isinstance(read, dict):
        _check_keys(path, read, known)
    if twice := list(_repeated(node)):
        raise CatalogError(f"{path}: {'; '.join(twice)}; keep one of them, with all that is below it")
    try:
        return DataAbout.model_validate({} if read is None else read)
    except ValidationError as error:
        raise CatalogError(f"{path}: " + "; ".join(map(_explained, error.errors()))) from error


def _check_keys(path: str | Path, read: dict[Any, Any], questions: Collection[str]) -> None:
    """Raise CatalogError that names all keys which nothing reads."""
    unknown = [str(key) for key in read if key not in DataAbout.model_fields]
    if of_model := [key for key in unknown if key in ModelAbout.model_fields and key not in questions]:
        raise CatalogError(
            f"{path} is the file of release model: it has {', '.join(of_model)}; "
            "give release data a file of its own, such as data-about.yaml"
        )
    problems = [f"{key} belongs under answers" for key in unknown if key in questions]
    others = [key for key in unknown if key not in questions]
    answers = read.get("answers")
    asked = [str(key) for key in answers if key not in questions] if isinstance(answers, dict) else []
    problems += _unknown("there is no key", others, DataAbout.model_fields)
    problems += _unknown("answers has no question", asked, questions)
    if problems:
        raise CatalogError(f"{path}: {'; '.join(problems)}")


def _unknown(words: str, keys: Sequence[str], known: Iterable[str]) -> list[str]:
    """The unknown keys with the nearest known ones; all known ones, if a key is near none."""
    names = sorted(known)
    near = [difflib.get_close_matches(key, names, 1) for key in keys]
    named = [f"{key} (did you mean {one[0]}?)" if one else key for key, one in zip(keys, near, strict=True)]
    listed = [] if all(near) else [f"there are: {', '.join(names)}"]
    return [f"{words} {' or '.join(named)}", *listed] if keys else []


def _repeated(node: yaml.Node | None) -> Iterator[str]:
    """Keys that the file or its answers have twice; YAML would keep the last one."""
    if not isinstance(node, yaml.MappingNode):
        return
    for each in (node, *(value for _, value in node.value if isinstance(value, yaml.MappingNode))):
        lines: dict[str, int] = {}
        for key, _ in each.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                yield f"{key.value} is in line {lines[key.value]} and in line {line}"
            lines[str(key.value)] = line


def _explained(problem: object) -> str:
    assert isinstance(problem, dict)
    name = ".".join(map(str, problem["loc"])) or "the file"
    return f"{name}: {problem['msg']}"
