"""CLIP: embeddings of images and texts by transformers or open_clip, and the CLIP score.

Shapes: N images or texts, D the width of their common space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from commoncanvas.captioning.quality.clip import CONFIG, HUB, ClipModel
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, ScorerInfo, TextScorer
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.card import card_license
from commoncanvas.models.devices import pick_device
from commoncanvas.models.hub import locate
from commoncanvas.models.similarity import clip_score
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network, load_tokenizer
from commoncanvas.options.scorers import ScorerOptions

BATCH = 16
PRECISION = "fp32"


class Embeds(Protocol):
    """A CLIP."""

    def info(self, kind: str, settings: Mapping[str, Any]) -> ScorerInfo: ...

    def images(self, images: Images) -> Tensor:
        """Images -> unit vectors [N, D]."""

    def texts(self, texts: Sequence[str]) -> tuple[Tensor, list[bool]]:
        """Texts -> unit vectors [N, D], and whether each was cut at the most tokens that the model reads."""


class Clip:
    """A `CLIPModel` of transformers with its processor, in fp32."""

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
        license, resize = card_license(self.model), "by the model's own processor, transformers"
        return ScorerInfo(
            kind, self.model, self.revision, self.sha256, license, resize, common | dict(settings)
        )

    @torch.no_grad()
    def images(self, images: Images) -> Tensor:
        found = []
        for start in range(0, len(images), BATCH):
            chosen = [Image.fromarray(image) for image in images[start : start + BATCH]]
            pixels = self.processor(images=chosen, return_tensors="pt")["pixel_values"].to(self._device)
            pooled = self.network.vision_model(pixel_values=pixels).pooler_output
            found.append(normalize(self.network.visual_projection(pooled), dim=-1).cpu())
        return torch.cat(found)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> tuple[Tensor, list[bool]]:
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


class OpenClip:
    """A model of open_clip, from a folder with open_clip_config.json or from the hub, in fp32."""

    def __init__(self, model: str, device: str) -> None:
        self._model, self._clip = model, ClipModel(model, device=device)

    def info(self, kind: str, settings: Mapping[str, Any]) -> ScorerInfo:
        common = {"precision": PRECISION, "tokens": self._clip.length}
        license, resize = card_license(_without_hub(self._model)), "by the model's own transform, open_clip"
        sha256 = self._clip.sha256()
        return ScorerInfo(kind, self._model, None, sha256, license, resize, common | dict(settings))

    def images(self, images: Images) -> Tensor:
        return torch.from_numpy(self._clip.images(images))

    def texts(self, texts: Sequence[str]) -> tuple[Tensor, list[bool]]:
        return torch.from_numpy(self._clip.texts(texts)), self._clip.cut(texts)


def load_clip(model: str, device: str, what: str) -> Embeds:
    """A CLIP in the form of open_clip or of transformers: a folder, `hf-hub:...` for open_clip, or another hub id.

    Raises ModelError, MissingExtraError.
    """
    if model.startswith(HUB) or Path(model, CONFIG).is_file():
        return OpenClip(model, device)
    return Clip(model, device, what)


def cosines(clip: Embeds, prompts: Sequence[SuitePrompt], images: Images) -> tuple[list[float], list[bool]]:
    """The cosine of each image with its own prompt, and whether the prompt was cut."""
    vectors, cut = clip.texts([prompt.text for prompt in prompts])
    return (clip.images(images) * vectors).sum(-1).tolist(), cut


class ClipScore(TextScorer):
    """The CLIP score, see `models.similarity.clip_score`."""

    figures: ClassVar = {"clip_score": Figure(False, "100 x the cosine of image and prompt, at least 0")}

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        self._clip = load_clip(model, device, "scorer")
        self.info = self._clip.info("clip", {})

    @staticmethod
    def look(model: str, options: ScorerOptions) -> None:
        look_for_clip(model, "scorer")

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        found, cut = cosines(self._clip, prompts, images)
        return [
            Judgement({"clip_score": score}, cut=short)
            for score, short in zip(clip_score(found).tolist(), cut, strict=True)
        ]


def look_for_clip(model: str, what: str) -> None:
    """Raise ModelError unless the model's files are here, or the hub answers."""
    locate(_without_hub(model), what)


def _without_hub(model: str) -> str:
    """The hub id in `hf-hub:ID@REVISION`; anything else unchanged."""
    return model.removeprefix(HUB).partition("@")[0] if model.startswith(HUB) else model
