"""VQAScore (Lin et al., arXiv 2404.01291): the probability of "Yes" to the question whether an image shows a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from commoncanvas.evaluation.scorers.answers import Answers, Asked
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, TextScorer
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.options.scorers import ScorerOptions

QUESTION = 'Does this figure show "{}"? Please answer Yes or No.'
ANSWERS = ("Yes", " Yes")
"""Both spellings, since some tokenizers have only the one with a space before it."""


class VQAScore(TextScorer):
    """By a vision-language model. Scores of different models can't be compared."""

    figures: ClassVar = {"vqascore": Figure(True, 'probability that the answer begins with "Yes"')}

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        self._answers = Answers(model, device)
        self.info = self._answers.info("vqa", {"question": QUESTION, "answers": list(ANSWERS)})

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        asked = [
            Asked(image, QUESTION.format(prompt.text), ANSWERS)
            for prompt, image in zip(prompts, images, strict=True)
        ]
        return [Judgement({"vqascore": chance}) for chance in self._answers(asked)]
