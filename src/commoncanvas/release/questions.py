"""The questions of "Datasheets for Datasets" (https://arxiv.org/abs/1803.09010), from datasheet.yaml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class Question:
    """`answer` and `ask` are templates over the facts; `ask` is what only the publisher can say. `field`: that of
    the provider's answers which says it, such as `dataset.url`, if it isn't in their `dataset.answers`.
    """

    key: str
    question: str
    answer: str = ""
    ask: str = ""
    field: str = ""


@cache
def sections() -> dict[str, tuple[Question, ...]]:
    """The questions by their sections."""
    text = resources.files("commoncanvas.release").joinpath("datasheet.yaml").read_text(encoding="utf-8")
    return {
        each["section"]: tuple(Question(**question) for question in each["questions"])
        for each in yaml.safe_load(text)
    }


def questions() -> Iterable[Question]:
    """All questions, in order."""
    return (question for each in sections().values() for question in each)
