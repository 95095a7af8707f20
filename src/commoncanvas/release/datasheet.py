"""datasheet.md: the questions of "Datasheets for Datasets" (https://arxiv.org/abs/1803.09010), with answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from commoncanvas.core.numbers import count
from commoncanvas.core.text import counted, markdown_cell, markdown_code
from commoncanvas.release.data_about import DataAbout, linked

DATASHEET = "datasheet.md"
NOT_ANSWERED = "(not answered)"
OPEN = "(to be filled in by the publisher: {})"


@dataclass(frozen=True)
class Question:
    """`answer` and `ask` are templates over the facts; `ask` is what only the publisher can say. `field`: of
    `DataAbout`, if it is said there and not in its `answers`.
    """

    key: str
    question: str
    answer: str = ""
    ask: str = ""
    field: str = ""


@dataclass(frozen=True)
class Answers:
    """What is known, and what the publisher still has to say, by the keys of the questions. Each may lack a key."""

    known: Mapping[str, str]
    open: Mapping[str, str]
    statements: Mapping[str, str]
    """What is known, with the question before the publisher's own words: clear where the datasheet isn't at hand."""

    def stated(self, *keys: str) -> list[str]:
        """The `statements` on some questions."""
        return [self.statements[key] for key in keys if key in self.statements]

    def to_fill_in(self) -> list[str]:
        """Lines of a YAML file for `read_about`, with a comment on what to write."""
        fields: dict[str, str] = {}
        for one in questions():
            if one.key in self.open:
                fields.setdefault(one.field or f"  {one.key}", self.open[one.key])
        own = {name: ask for name, ask in fields.items() if name[0] != " "}
        under = {name: ask for name, ask in fields.items() if name[0] == " "}
        width = max(map(len, fields), default=0) + 1
        lines = [f"{f'{name}:':{width}}  # {ask}" for name, ask in own.items()]
        if under:
            lines += ["answers:", *(f"{f'{name}:':{width}}  # {ask}" for name, ask in under.items())]
        return lines


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


def answer(facts: Mapping[str, Any], about: DataAbout) -> Answers:
    """Answer each question from the `facts`, and with the publisher's words."""
    templates = Environment(undefined=StrictUndefined)
    templates.filters |= {
        "cell": markdown_cell,
        "code": markdown_code,
        "linked": linked,
        "count": count,
        "counted": counted,
    }

    def rendered(template: str) -> str:
        return " ".join(templates.from_string(template).render(facts, about=about).split())

    known, open_, statements = {}, {}, {}
    for one in questions():
        own = (about.answers.get(one.key) or "").strip()
        said = own or (one.field and getattr(about, one.field))
        made = rendered(one.answer)
        if text := " ".join(part for part in (made, own) if part):
            known[one.key] = text
            statements[one.key] = f"{made} {one.question} {own}".strip() if own else made
        if not said and (ask := rendered(one.ask)):
            open_[one.key] = ask
    return Answers(known, open_, statements)


def markdown(name: str, answers: Answers) -> str:
    """datasheet.md."""
    lines = [
        f"# Datasheet of {markdown_cell(name)}",
        "",
        "The questions are those of [Datasheets for Datasets](https://arxiv.org/abs/1803.09010), shortened.",
    ]
    for section, asked in sections().items():
        lines += ["", f"## {section}"]
        for one in asked:
            asked_of = [OPEN.format(answers.open[one.key])] if one.key in answers.open else []
            text = " ".join([answers.known.get(one.key, ""), *asked_of]).strip()
            lines += ["", f"**{one.question}** <!-- {one.key} -->", "", text or NOT_ANSWERED]
    return "\n".join(lines) + "\n"
