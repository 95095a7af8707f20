"""The protocol of scorers, and their registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.hub import locate
from commoncanvas.options.scorers import DEFAULTS, ScorerOptions

Images = Sequence[NDArray[np.uint8]]
"""RGB [H, W, 3] each."""


class Kind(NamedTuple):
    """A kind of scorer: the file here and the class in it, and what people call its score."""

    file: str
    name: str
    title: str

    def titled(self, scorer: str) -> str:
        """What people call the score of `KIND:MODEL`."""
        return f"{self.title} ({scorer.partition(':')[2]})"


SCORERS = {
    "clip": Kind("clip", "ClipScore", "CLIP score"),
    "pickscore": Kind("pickscore", "PickScore", "PickScore"),
    "hpsv2": Kind("hpsv2", "HPSv2", "HPSv2"),
    "vqa": Kind("vqa", "VQAScore", "VQAScore"),
    "captioner": Kind("captioner", "CaptionCosine", "Caption cosine"),
    "soft-tifa": Kind("soft_tifa", "SoftTIFA", "Soft-TIFA"),
    "detector": Kind("detector", "DetectorScore", "Right by detector"),
}
"""Kind -> its class. Its arguments: model, options, device. Higher scores are better."""


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
    """What scored.

    Attributes:
        sha256: digest of the weights.
        resize: in words, how images are resized.
        settings: all else that changes a score.
    """

    kind: str
    model: str
    revision: str | None
    sha256: str
    license: str
    resize: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """KIND:MODEL without the path of a folder or file: results are handed on, and must not show it."""
        path = Path(self.model)
        return f"{self.kind}:{path.resolve().name if path.exists() else self.model}"

    @property
    def digest(self) -> str:
        """SHA-256 of all that changes a score."""
        known = {"kind": self.kind, "sha256": self.sha256, "resize": self.resize, "settings": self.settings}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def mark(self) -> dict[str, Any]:
        """The fields of a fingerprint that say what scored."""
        return {
            "resize": self.resize,
            "scorer": self.name,
            "scorer_revision": self.sha256,
            "scorer_settings": dict(self.settings),
        }


class Scorer(Protocol):
    """Scores images. A score does not depend on the other images of a call."""

    info: ScorerInfo
    figures: Mapping[str, Figure]
    """By name. The first is the score."""

    @staticmethod
    def look(model: str, options: ScorerOptions) -> None:
        """Raise ModelError unless the model's files are here, or the hub answers. Nothing is loaded."""

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        """What the prompt lacks, so that its images can't be scored; None if nothing."""

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        """The scores of images, each with its prompt."""


class TextScorer:
    """The parts of a scorer whose model is a folder or hub id, and which needs only the text of a prompt."""

    @staticmethod
    def look(model: str, options: ScorerOptions) -> None:
        locate(model, "scorer")

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        return None


def scorer_class(spec: str) -> tuple[Any, str]:
    """The class and the model of `KIND:MODEL`. Raises EvaluationError."""
    kind, _, model = spec.partition(":")
    if kind not in SCORERS or not model:
        raise EvaluationError(
            f"scorer {spec!r} must be KIND:MODEL, KIND one of {', '.join(SCORERS)}, MODEL a folder, a file or a hub id"
        )
    found = SCORERS[kind]
    return getattr(import_module(f"commoncanvas.evaluation.scorers.{found.file}"), found.name), model


def check_scorer(spec: str, prompts: Sequence[SuitePrompt], options: ScorerOptions = DEFAULTS) -> list[str]:
    """What prompts lack for a scorer, for each that lacks something. Raises EvaluationError for an unknown scorer,
    ModelError if its model is not there. Nothing is loaded.
    """
    kind, model = scorer_class(spec)
    kind.look(model, options)
    return [lack for prompt in prompts if (lack := kind.lacks(prompt)) is not None]


def load_scorer(spec: str, options: ScorerOptions = DEFAULTS, device: str = "auto") -> Scorer:
    """Load a scorer. Raises EvaluationError, ModelError and MissingExtraError."""
    kind, model = scorer_class(spec)
    scorer: Scorer = kind(model, options, device)
    return scorer


def scores_of(scorer: Scorer, prompts: Sequence[SuitePrompt], images: Images) -> NDArray[np.float64]:
    """The score [N] of each image with its prompt: the scorer's first figure."""
    first = next(iter(scorer.figures))
    return np.array([each.figures[first] for each in scorer(prompts, images)], np.float64)
