"""Any vision-language model of transformers with a chat template: LLaVA, Qwen-VL, SmolVLM, Idefics, ..."""

from __future__ import annotations

from PIL import Image

from commoncanvas.captioning.generation import GeneratingCaptioner, Inputs
from commoncanvas.core.errors import ModelError
from commoncanvas.options.caption import CaptionerConfig


class VLMCaptioner(GeneratingCaptioner):
    """An `AutoModelForImageTextToText` that gets an image and a prompt as one user message."""

    classes = ("AutoProcessor", "AutoModelForImageTextToText")
    prompt = "Describe this photo in one sentence."

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        if not getattr(self.processor, "chat_template", None):
            raise ModelError(f"captioner {config.model} has no chat template, so it can't be used as vlm")

    def inputs(self, image: Image.Image) -> Inputs:
        return self.asked(image, self.prompt or "")

    def asked(self, image: Image.Image, question: str) -> Inputs:
        """The model's inputs for one image and a question about it."""
        turn = {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": question}],
        }
        return dict(
            self.processor.apply_chat_template(
                [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
        )
