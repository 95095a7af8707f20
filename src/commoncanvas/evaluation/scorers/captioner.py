"""What a captioner sees: the cosine of the prompt and of its caption of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from commoncanvas.captioning import Captioner, CaptionerConfig, captions_of, load_captioner
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, ScorerInfo, TextScorer
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.card import UNKNOWN
from commoncanvas.models.sentences import embed
from commoncanvas.options.scorers import ScorerOptions


def captioner_info(captioner: Captioner) -> ScorerInfo:
    """The captioner as what scores."""
    own = captioner.info
    license, settings = own.license or UNKNOWN, dict(own.settings)
    return ScorerInfo("captioner", own.model, own.revision, own.sha256, license, "by the captioner", settings)


class CaptionCosine(TextScorer):
    """By any captioner, with its own settings."""

    figures: ClassVar = {
        "caption_cosine": Figure(False, "cosine of the prompt and the caption, by all-MiniLM-L6-v2")
    }

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        self._captioner = load_captioner(CaptionerConfig(model, device=device))
        self.info = captioner_info(self._captioner)

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        captions = captions_of(self._captioner, list(images))
        wanted, found = embed([prompt.text for prompt in prompts]), embed(captions)
        cosines = np.einsum("nd,nd->n", wanted, found).tolist()
        return [
            Judgement({"caption_cosine": cosine}, note=caption)
            for cosine, caption in zip(cosines, captions, strict=True)
        ]
