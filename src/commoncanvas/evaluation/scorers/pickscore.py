"""PickScore (Kirstain et al., arXiv 2305.01569): a CLIP trained on people's choices between images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from commoncanvas.evaluation.scorers.clip import Clip, cosines
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, TextScorer
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.options.scorers import ScorerOptions


class PickScore(TextScorer):
    """The model's own temperature times the cosine, as its authors' `calc_probs` computes it before the softmax."""

    figures: ClassVar = {"pickscore": Figure(False, "exp(logit_scale) x the cosine of image and prompt")}

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        self._clip = Clip(model, device, "scorer")
        self._scale = float(self._clip.network.logit_scale.detach().exp())
        self.info = self._clip.info("pickscore", {"scale": self._scale})

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        found, cut = cosines(self._clip, prompts, images)
        return [
            Judgement({"pickscore": self._scale * cosine}, cut=short)
            for cosine, short in zip(found, cut, strict=True)
        ]
