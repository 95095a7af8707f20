"""What only the publisher of a data set can say: read from a YAML file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from commoncanvas.config.schema import Schema
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import why
from commoncanvas.core.text import one_line


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


def read_about(path: str | Path | None, questions: Iterable[str]) -> DataAbout:
    """The file at `path`; without one, nothing is known. `questions`: keys of the datasheet's questions.

    Raises CatalogError, which names the key that is wrong.
    """
    if path is None:
        return DataAbout()
    try:
        read = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path} can't be read: {why(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} is not valid YAML: {one_line(error)}") from error
    try:
        about = DataAbout.model_validate({} if read is None else read)
    except ValidationError as error:
        raise CatalogError(f"{path}: " + "; ".join(map(_explained, error.errors()))) from error
    known = set(questions)
    for key in about.answers:
        if key not in known:
            raise CatalogError(f"{path}: answers has no question {key}{_nearest(key, known)}")
    return about


def _explained(problem: object) -> str:
    assert isinstance(problem, dict)
    name = ".".join(map(str, problem["loc"])) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"there is no key {name}{_nearest(name, DataAbout.model_fields)}"
    return f"{name}: {problem['msg']}"


def _nearest(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(key, names, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(names)}"
