"""CLIP of transformers: embeddings of images and texts, and the CLIP score.

Shapes: N images or texts, D the width of their common space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from commoncanvas.evaluation.scorers.scorer import Figure, Judgement, ScorerInfo, look
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.card import card_license
from commoncanvas.models.devices import pick_device
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network, load_tokenizer
from commoncanvas.options.suite import SuiteOptions

BATCH = 16
PRECISION = "fp32"
Images = Sequence[NDArray[np.uint8]]


class Clip:
    """A `CLIPModel` with its processor, in fp32."""

    def __init__(self, model: str, device: str, what: str) -> None:
        from transformers import AutoProcessor, CLIPModel

        self.model = model
        self.processor: Any = load_tokenizer(AutoProcessor, model, what, as_kind="CLIP")
        self.network: Any = load_network(CLIPModel, model, what, as_kind="CLIP")
        self.revision = getattr(self.network.config, "_commit_hash", None)
        self.sha256 = weights_sha256(self.network)
        self.length: int = self.network.config.text_config.max_position_embeddings
        self._device = pick_device(device)
        self.network.to(self._device)

    def info(self, kind: str, settings: Mapping[str, Any]) -> ScorerInfo:
        common = {"precision": PRECISION, "tokens": self.length}
        return ScorerInfo(
            kind, self.model, self.revision, self.sha256, card_license(self.model), common | dict(settings)
        )

    @torch.no_grad()
    def images(self, images: Images) -> Tensor:
        """uint8 [H, W, 3] each -> unit vectors [N, D]."""
        found = []
        for start in range(0, len(images), BATCH):
            chosen = [Image.fromarray(image) for image in images[start : start + BATCH]]
            pixels = self.processor(images=chosen, return_tensors="pt")["pixel_values"].to(self._device)
            pooled = self.network.vision_model(pixel_values=pixels).pooler_output
            found.append(normalize(self.network.visual_projection(pooled), dim=-1).cpu())
        return torch.cat(found)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> tuple[Tensor, list[bool]]:
        """Texts -> unit vectors [N, D], and whether each was cut at the most tokens that the model reads."""
        found, cut = [], []
        for start in range(0, len(texts), BATCH):
            chosen = list(texts[start : start + BATCH])
            whole = self.processor.tokenizer(chosen, verbose=False)["input_ids"]
            cut += [len(tokens) > self.length for tokens in whole]
            tokens = self.processor.tokenizer(
                chosen, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
            ).to(self._device)
            pooled = self.network.text_model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            found.append(normalize(self.network.text_projection(pooled), dim=-1).cpu())
        return torch.cat(found), cut

    def cosines(self, texts: Sequence[str], images: Images) -> tuple[list[float], list[bool]]:
        """The cosine of each image with its own text, and whether the text was cut."""
        vectors, cut = self.texts(texts)
        return (self.images(images) * vectors).sum(-1).tolist(), cut


class ClipScore:
    """The CLIP score (Hessel et al., arXiv 2104.08718) on the scale of torchmetrics: without its weight of 2.5."""

    figures: ClassVar = {"clip_score": Figure(False, "100 x the cosine of image and prompt, at least 0")}

    def __init__(self, model: str, options: SuiteOptions, device: str = "auto") -> None:
        self._clip = Clip(model, device, "scorer")
        self.info = self._clip.info("clip", {})

    look = staticmethod(look)

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        return None

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        cosines, cut = self._clip.cosines([prompt.text for prompt in prompts], images)
        return [
            Judgement({"clip_score": max(0.0, 100 * cosine)}, cut=short)
            for cosine, short in zip(cosines, cut, strict=True)
        ]
