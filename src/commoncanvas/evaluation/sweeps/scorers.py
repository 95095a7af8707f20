"""What scores how well an image fits its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.files import from_anywhere

SCORERS = {"clip": "CLIP score", "captioner": "Caption cosine"}
"""The kinds of scorers, and what their figures are called. Higher is better."""


class Scorer(Protocol):
    """Images with their prompts -> scores. `revision` is the digest of its weights."""

    name: str
    revision: str
    resize: str

    def __call__(self, images: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float64]:
        """RGB images [H, W, 3] and a text each -> scores [N]."""


def kind_of(spec: str) -> str:
    """The kind of the scorer `KIND:MODEL`. Raises EvaluationError."""
    kind, _, model = spec.partition(":")
    if kind not in SCORERS or not model:
        raise EvaluationError(
            f"scorer {spec!r} is not one of {', '.join(f'{name}:MODEL' for name in SCORERS)}"
        )
    return kind


def anywhere(spec: str) -> str:
    """The same, with a folder's path made absolute, for workers in other folders."""
    kind, colon, model = spec.partition(":")
    return f"{kind}{colon}{from_anywhere(model)}" if model else spec


def load_scorer(spec: str, device: str = "auto") -> Scorer:
    """The scorer `KIND:MODEL`. Raises EvaluationError, ModelError, MissingExtraError."""
    model = spec.partition(":")[2]
    return ClipScore(model, device) if kind_of(spec) == "clip" else CaptionCosine(model, device)


class ClipScore:
    """100 times the cosine of CLIP's vectors of image and prompt, at least 0 (Hessel et al., arXiv 2104.08718, without
    its factor 2.5, as papers on text-to-image models give it).
    """

    resize = "by the model's own transform, open_clip"

    def __init__(self, model: str, device: str) -> None:
        from commoncanvas.captioning.quality.clip import ClipModel

        self._clip = ClipModel(model, device=device)
        self.name, self.revision = f"clip:{self._clip.name}", self._clip.sha256()

    def __call__(self, images: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float64]:
        cosines = np.einsum("nd,nd->n", self._clip.images(images), self._clip.texts(texts))
        return np.asarray(100 * np.maximum(cosines, 0), np.float64)


class CaptionCosine:
    """Cosine of sentence embeddings (all-MiniLM-L6-v2): the prompt, and a captioner's caption of the image."""

    resize = "by the captioner"

    def __init__(self, model: str, device: str) -> None:
        from commoncanvas.captioning import CaptionerConfig, load_captioner

        self._captioner = load_captioner(CaptionerConfig(model, device=device))
        info = self._captioner.info
        self.name, self.revision = f"captioner:{Path(info.model).name}", info.sha256

    def __call__(self, images: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float64]:
        from commoncanvas.captioning import captions_of
        from commoncanvas.models.sentences import embed

        captions = captions_of(self._captioner, list(images))
        return np.asarray(np.einsum("nd,nd->n", embed(texts), embed(captions)), np.float64)
