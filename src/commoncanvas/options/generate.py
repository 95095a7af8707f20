"""Options of `generate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """How images are drawn. None means the model's own setting.

    Attributes:
        negative_prompt: what not to draw; needs a guidance scale above 1.
        seed: random seed of the first image.
        count: images of each prompt, from seeds SEED, SEED + 1, ...
        guidance_scale: classifier-free guidance; 1: none; default: the model's own, else 5.
        steps: sampling steps; default: the model's own, else 50.
        scheduler: sampler, a diffusers class such as DDIMScheduler; default: the model's own.
        height: pixels; default: those of the training images.
        width: pixels; default: those of the training images.
        precision: of the products; bf16 and fp16 are faster where the device has such products, and change the image a
            little; fp16 needs a GPU.
    """

    negative_prompt: str = ""
    seed: int = 0
    count: int = 1
    guidance_scale: float | None = None
    steps: int | None = None
    scheduler: str | None = None
    height: int | None = None
    width: int | None = None
    precision: Precision = "fp32"


DEFAULTS = DrawOptions()
