"""Options of `caption`: the captioner and its settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from commoncanvas.core.errors import ModelError

Kind = Literal["xs", "blip2", "vlm", "openai"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
_KINDS: dict[str, Kind] = {"commoncanvas-xs-captioner": "xs", "blip-2": "blip2"}
"""By `model_type` in a model's configuration; any other is a vlm."""


@dataclass(frozen=True)
class CaptionerConfig:
    """A captioner: its model and settings. None means the captioner's default.

    Attributes:
        model: folder or hub id of the model, or its name on the server.
        captioner: xs, blip2, vlm (any model with images and a chat template), or openai (a server with OpenAI's API);
            default: openai with --base-url, else by the model's configuration.
        revision: branch, tag or commit on the hub.
        prompt: prompt for the model; default for vlm and openai: a built-in one.
        max_tokens: most tokens in a caption.
        beams: number of beams in beam search; default: 5 for blip2, 1 (greedy) for vlm.
        temperature: above 0, captions are sampled at random, with a seed per image made from SEED.
        top_p: with a temperature: sample from the likeliest words that have this probability together.
        seed: random seed of the sampling, with a temperature.
        precision: precision of the weights; auto: bf16 if the device supports it natively, else fp32.
        batch_size: images per batch; halved when memory runs out.
        base_url: URL of the server, such as http://localhost:8000/v1; set OPENAI_API_KEY if it needs a key.
        concurrency: requests to the server at the same time.
        unsure: for xs: share of images that get no caption, because it is least sure of them; an estimate from its
            training images.
        device: device of the model, such as cuda:1; auto: the GPU if there is one.
    """

    model: str
    captioner: Kind | None = None
    revision: str | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    beams: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    precision: Precision = "auto"
    batch_size: int | None = None
    base_url: str | None = None
    concurrency: int = 16
    unsure: float = 0.0
    # Not on the command line:
    device: str = "auto"

    @property
    def kind(self) -> Kind:
        """`captioner`, or its default. Raises ModelError if the folder `model` has no configuration."""
        return self.captioner or ("openai" if self.base_url else _kind_of(self.model))


def _kind_of(model: str) -> Kind:
    folder = Path(model)
    if not folder.exists():
        return "blip2" if "blip2" in model.lower() else "vlm"
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{model} is not a captioner's folder: it has no config.json with a model_type"
        ) from error
    return _KINDS.get(str(kind), "vlm")
