"""A benchmark's prompt, with its categories and questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
