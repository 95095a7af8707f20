"""Answers of a vision-language model to questions about images, as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.captioning.vlm import VLMCaptioner
from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.scorers.scorer import ScorerInfo
from commoncanvas.models.card import UNKNOWN
from commoncanvas.models.loading import read_json
from commoncanvas.options.caption import CaptionerConfig, Precision

SAVED: dict[str, Precision] = {"bfloat16": "bf16", "float16": "fp16"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Asked(NamedTuple):
    """A question about an image, and the answers that count as right."""

    image: NDArray[np.uint8]
    question: str
    answers: tuple[str, ...]


class Answers:
    """Any model that `caption --captioner vlm` loads."""

    def __init__(self, model: str, device: str) -> None:
        precision = _saved_precision(model)
        self._captioner = VLMCaptioner(CaptionerConfig(model, "vlm", precision=precision, device=device))
        self._tokens = lru_cache(None)(self._first_tokens)

    def info(self, kind: str, settings: dict[str, Any]) -> ScorerInfo:
        own = self._captioner.info
        license, common = own.license or UNKNOWN, {"precision": own.settings["precision"]}
        return ScorerInfo(
            kind,
            own.model,
            own.revision,
            own.sha256,
            license,
            "by the model's own processor",
            common | settings,
        )

    def __call__(self, asked: Sequence[Asked]) -> list[float]:
        """The probability that the model's answer begins with one of the right answers, for each question.

        Raises ModelError if no right answer is a single token of the model.
        """
        inputs = [self._captioner.asked(Image.fromarray(each.image), each.question) for each in asked]
        return self._captioner.answer_probabilities(inputs, [self._tokens(each.answers) for each in asked])

    def _first_tokens(self, answers: tuple[str, ...]) -> frozenset[int]:
        """Tokens that are one of the answers as a whole.

        A tokenizer may begin an answer with a special token, a space or a piece of a word, which other answers begin
        with too; so an answer of several tokens doesn't count.
        """
        tokenizer = self._captioner.processor.tokenizer
        found = set()
        for answer in answers:
            tokens = tokenizer.encode(answer, add_special_tokens=False)
            if len(tokens) == 1 and tokenizer.decode(tokens).strip() == answer.strip():
                found.add(tokens[0])
        if not found:
            raise ModelError(
                f"model {self._captioner.config.model} has no single token for the answer {answers[0]!r}, so its "
                "probability can't be read; use another model"
            )
        return frozenset(found)


def _saved_precision(model: str) -> Precision:
    """The precision that the weights were saved in: on every device the same, so that scores are."""
    config = read_json(model, "config.json", what="scorer")
    names = ("dtype", "torch_dtype")
    places = [config, config.get("text_config") or {}]
    stated = next((place[name] for place in places for name in names if place.get(name)), "float32")
    return SAVED.get(str(stated), "fp32")


def spellings(answer: str) -> tuple[str, ...]:
    """An answer as a model may write it: capitalised or not, with a space before it or not, a number in digits."""
    words = [answer, answer.lower(), answer.capitalize()]
    if answer.lower() in NUMBERS:
        words.append(str(NUMBERS.index(answer.lower())))
    return tuple(dict.fromkeys(space + word for word in words for space in ("", " ")))
