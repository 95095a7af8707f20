"""Means of a scorer's figures: over all images, and by category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from commoncanvas.evaluation.scorers.intervals import Estimate, estimate
from commoncanvas.evaluation.scorers.scorer import Figure, Judgement
from commoncanvas.evaluation.suite_prompt import SuitePrompt

Scored = tuple[SuitePrompt, Judgement]
Row = tuple[str, str, str, float]
"""Grouping, category, name of the prompt, value."""


@dataclass(frozen=True)
class Summary:
    """Means with intervals.

    Attributes:
        figures: figure -> its mean over all images.
        categories: grouping -> category -> figure -> its mean over the images of the category's prompts.
        parts: grouping -> category -> mean score of the parts (questions, checks) of all images.
        macro: grouping -> figure -> mean over the categories, each with the same weight.
    """

    figures: Mapping[str, Estimate]
    categories: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    parts: Mapping[str, Mapping[str, Estimate]]
    macro: Mapping[str, Mapping[str, float]]


def summary(scored: Sequence[Scored], figures: Mapping[str, Figure]) -> Summary:
    """All images of all prompts count, in every category that they belong to."""
    whole = {
        name: estimate(
            [each.figures[name] for _, each in scored], [prompt.name for prompt, _ in scored], figure.share
        )
        for name, figure in figures.items()
    }
    categories: dict[str, dict[str, dict[str, Estimate]]] = {}
    for name, figure in figures.items():
        rows = (
            (grouping, category, prompt.name, each.figures[name])
            for prompt, each in scored
            for grouping, category in prompt.categories.items()
        )
        for grouping, found in _grouped(rows, figure.share).items():
            for category, mean in found.items():
                categories.setdefault(grouping, {}).setdefault(category, {})[name] = mean
    parts = _grouped(
        (
            (grouping, category, prompt.name, part.score)
            for prompt, each in scored
            for part in each.parts
            for grouping, category in part.categories.items()
        ),
        share=True,
    )
    macro = {
        grouping: {name: sum(each[name].mean for each in found.values()) / len(found) for name in figures}
        for grouping, found in categories.items()
    }
    return Summary(whole, categories, parts, macro)


def _grouped(rows: Iterable[Row], share: bool) -> dict[str, dict[str, Estimate]]:
    values: dict[str, dict[str, list[tuple[float, str]]]] = defaultdict(lambda: defaultdict(list))
    for grouping, category, prompt, value in rows:
        values[grouping][category].append((value, prompt))
    return {
        grouping: {
            category: estimate([value for value, _ in pairs], [prompt for _, prompt in pairs], share)
            for category, pairs in sorted(found.items())
        }
        for grouping, found in values.items()
    }
