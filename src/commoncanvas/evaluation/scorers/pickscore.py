"""PickScore (Kirstain et al., arXiv 2305.01569): a CLIP trained on people's choices between images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from commoncanvas.evaluation.scorers.clip import Clip, Images
from commoncanvas.evaluation.scorers.scorer import Figure, Judgement, look
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.options.suite import SuiteOptions


class PickScore:
    """The model's own temperature times the cosine, as its authors' `calc_probs` computes it before the softmax."""

    figures: ClassVar = {"pickscore": Figure(False, "exp(logit_scale) x the cosine of image and prompt")}

    def __init__(self, model: str, options: SuiteOptions, device: str = "auto") -> None:
        self._clip = Clip(model, device, "scorer")
        self._scale = float(self._clip.network.logit_scale.detach().exp())
        self.info = self._clip.info("pickscore", {"scale": self._scale})

    look = staticmethod(look)

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        return None

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        cosines, cut = self._clip.cosines([prompt.text for prompt in prompts], images)
        return [
            Judgement({"pickscore": self._scale * cosine}, cut=short)
            for cosine, short in zip(cosines, cut, strict=True)
        ]
