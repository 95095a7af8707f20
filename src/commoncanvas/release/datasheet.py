"""datasheet.md: the questions of "Datasheets for Datasets" (https://arxiv.org/abs/1803.09010), with answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from jinja2 import Environment, StrictUndefined

from commoncanvas.core.numbers import count
from commoncanvas.core.text import counted, markdown_cell, markdown_code, markdown_link
from commoncanvas.release.about import About
from commoncanvas.release.questions import questions, sections

DATASHEET = "datasheet.md"
NOT_ANSWERED = "(not answered)"
OPEN = "(to be filled in by the publisher: {})"


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
        """Lines of a YAML file for `load_about`, with a comment on what to write."""
        asks: dict[tuple[str, ...], str] = {}
        for one in questions():
            if one.key in self.open:
                place = tuple(one.field.split(".")) if one.field else ("dataset", "answers", one.key)
                asks.setdefault(place, self.open[one.key])
        places = sorted(
            asks, key=lambda place: (len(place), place[:-1])
        )  # the sort keeps the order of the questions
        width = max((2 * len(place) + len(place[-1]) for place in places), default=0)
        lines: list[str] = []
        above: tuple[str, ...] = ()
        for place in places:
            for depth in range(1, len(place)):
                if above[:depth] != place[:depth]:
                    lines.append(f"{'  ' * (depth - 1)}{place[depth - 1]}:")
            above = place[:-1]
            name = f"{'  ' * len(above)}{place[-1]}:"
            lines.append(f"{name:{width}}  # {asks[place]}")
        return lines


def answer(facts: Mapping[str, Any], about: About) -> Answers:
    """Answer each question from the `facts`, and with the publisher's words."""
    templates = Environment(undefined=StrictUndefined)
    templates.filters |= {
        "cell": markdown_cell,
        "code": markdown_code,
        "linked": markdown_link,
        "count": count,
        "counted": counted,
    }

    def rendered(template: str) -> str:
        return " ".join(templates.from_string(template).render(facts, about=about).split())

    known, open_, statements = {}, {}, {}
    for one in questions():
        own = (about.dataset.answers.get(one.key) or "").strip()
        said = own or (one.field and attrgetter(one.field)(about))
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
