"""BLIP-2 (arXiv 2301.12597), the paper's captioner."""

from __future__ import annotations

from PIL import Image

from commoncanvas.captioning.generation import GeneratingCaptioner, Inputs


class Blip2Captioner(GeneratingCaptioner):
    """BLIP-2 with its authors' settings for captions (LAVIS): five beams, at most thirty tokens, no prompt."""

    classes = ("Blip2Processor", "Blip2ForConditionalGeneration")
    max_tokens = 30
    beams = 5

    def inputs(self, image: Image.Image) -> Inputs:
        return dict(self.processor(images=image, text=self.prompt or "", return_tensors="pt"))
