"""The protocol of scorers, and their registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import RecipeError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.hub import locate
from commoncanvas.options.suite import SuiteOptions

SCORERS: dict[str, str] = {
    "vqa": "commoncanvas.evaluation.scorers.vqa:VQAScore",
    "soft-tifa": "commoncanvas.evaluation.scorers.soft_tifa:SoftTIFA",
    "detector": "commoncanvas.evaluation.scorers.detector:DetectorScore",
    "pickscore": "commoncanvas.evaluation.scorers.pickscore:PickScore",
    "hpsv2": "commoncanvas.evaluation.scorers.hpsv2:HPSv2",
    "clip": "commoncanvas.evaluation.scorers.clip:ClipScore",
}
"""Kind -> module:class."""


class Figure(NamedTuple):
    """What a scorer computes for an image. `share`: it lies between 0 and 1, and is shown in percent."""

    share: bool
    formula: str


@dataclass(frozen=True)
class Part:
    """A part of an image's score, such as one question. `categories`: grouping -> its category."""

    text: str
    score: float
    categories: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""


@dataclass(frozen=True)
class Judgement:
    """The score of one image: value by figure. `note`: why, in words; `cut`: only a part of the prompt was read."""

    figures: Mapping[str, float]
    parts: tuple[Part, ...] = ()
    note: str = ""
    cut: bool = False


@dataclass(frozen=True)
class ScorerInfo:
    """What scored. `sha256`: digest of the weights; `settings`: all else that changes a score."""

    kind: str
    model: str
    revision: str | None
    sha256: str
    license: str
    settings: Mapping[str, Any]


class Scorer(Protocol):
    """Scores images. A score does not depend on the other images of a call."""

    info: ScorerInfo
    figures: Mapping[str, Figure]
    """By name. The first is the score."""

    @staticmethod
    def look(model: str, options: SuiteOptions) -> None:
        """Raise ModelError unless the model's files are here, or the hub answers. Nothing is loaded."""

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        """What the prompt lacks, so that its images can't be scored; None if nothing."""

    def __call__(
        self, prompts: Sequence[SuitePrompt], images: Sequence[NDArray[np.uint8]]
    ) -> list[Judgement]:
        """The scores of images uint8 [H, W, 3], RGB, each with its prompt."""


def look(model: str, options: SuiteOptions) -> None:
    """`Scorer.look` of a folder or hub id."""
    locate(model, "scorer")


def scorer_class(spec: str) -> tuple[Any, str]:
    """The class and the model of `KIND:MODEL`. Raises RecipeError."""
    kind, _, model = spec.partition(":")
    if kind not in SCORERS or not model:
        raise RecipeError(
            f"scorer {spec!r} must be KIND:MODEL, KIND one of {', '.join(SCORERS)}, MODEL a folder, a file or a hub id"
        )
    module, _, name = SCORERS[kind].partition(":")
    return getattr(import_module(module), name), model


def load_scorer(spec: str, options: SuiteOptions, device: str = "auto") -> Scorer:
    """Load a scorer. Raises RecipeError, ModelError and MissingExtraError."""
    kind, model = scorer_class(spec)
    scorer: Scorer = kind(model, options, device)
    return scorer
