"""Soft-TIFA (Kamath et al., arXiv 2512.16853): probabilities of the right answers to a benchmark's questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

import numpy as np
from scipy.stats import gmean

from commoncanvas.evaluation.scorers.answers import Answers, Asked, spellings
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, Part, TextScorer
from commoncanvas.evaluation.suite_prompt import Question, SuitePrompt
from commoncanvas.options.scorers import ScorerOptions

QUESTION = "{} Answer in one word."


class SoftTIFA(TextScorer):
    """By a vision-language model. The geometric mean judges a whole prompt, the arithmetic mean its parts.

    `yes_with_parents` is DPG-Bench's rule (arXiv 2403.05135): the share of questions that are answered right, where one
    counts as wrong if a question that it depends on does. A probability above 0.5 is a right answer.
    """

    figures: ClassVar = {
        "soft_tifa_gm": Figure(True, "geometric mean of the right answers' probabilities"),
        "soft_tifa_am": Figure(True, "arithmetic mean of the right answers' probabilities"),
        "yes_with_parents": Figure(True, "share of questions with a probability above 0.5, parents too"),
    }

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        self._answers = Answers(model, device)
        self.info = self._answers.info("soft-tifa", {"question": QUESTION})

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        return None if prompt.questions else "questions"

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        asked = [
            Asked(image, QUESTION.format(each.text), spellings(each.answer))
            for prompt, image in zip(prompts, images, strict=True)
            for each in prompt.questions
        ]
        chances: Iterator[float] = iter(self._answers(asked))
        return [judged(prompt.questions, [*islice(chances, len(prompt.questions))]) for prompt in prompts]


def judged(questions: Sequence[Question], chances: Sequence[float]) -> Judgement:
    """The score of one image from the probabilities of its right answers."""
    parts = tuple(
        Part(each.text, chance, each.categories, each.answer)
        for each, chance in zip(questions, chances, strict=True)
    )
    figures = {"soft_tifa_gm": float(gmean(chances)), "soft_tifa_am": float(np.mean(chances))}
    return Judgement(figures | {"yes_with_parents": _with_parents(questions, chances)}, parts)


def _with_parents(questions: Sequence[Question], chances: Sequence[float]) -> float:
    right = [chance > 0.5 for chance in chances]
    for place, each in enumerate(questions):
        right[place] = right[place] and all(right[parent] for parent in each.parents)
    return float(np.mean(right))
