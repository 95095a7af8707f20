"""How raw latents become what a network sees: the exact inverse of what the exported pipeline does before it decodes.

One table says what each of diffusers' pipelines undoes; training, statistics and evaluation all go by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from commoncanvas.core.errors import ModelError
from commoncanvas.models.vae import VAE

STATISTICS = ("latents_mean", "latents_std")
UNDOES: dict[str, tuple[str, ...]] = {
    "StableDiffusionPipeline": ("scaling_factor",),
    "StableDiffusionXLPipeline": ("scaling_factor", *STATISTICS),
    "PixArtAlphaPipeline": ("scaling_factor",),
}
"""Fields of a VAE's configuration that a pipeline takes back. None takes back a `shift_factor`, so that a network sees
latents without that shift.
"""


@dataclass(frozen=True)
class Scaling:
    """Latents [B, C, H, W] -> (latents - mean) * factor, by channel."""

    factor: Tensor
    """[C]."""
    mean: Tensor
    """[C]."""

    def __call__(self, latents_BCHW: Tensor) -> Tensor:
        factor_C11, mean_C11 = (
            each.to(latents_BCHW.device, latents_BCHW.dtype)[:, None, None]
            for each in (self.factor, self.mean)
        )
        return (latents_BCHW - mean_C11) * factor_C11


def scaling_of(vae: VAE, model: str, pipeline: str) -> Scaling:
    """For the VAE of `model` in diffusers' class `pipeline`.

    Raises ModelError for a VAE with something that this pipeline doesn't take back.
    """
    if pipeline not in UNDOES:
        raise ModelError(
            f"VAE {model}: what a {pipeline} does with latents is not known here; known: {', '.join(UNDOES)}"
        )
    config, channels = vae.config, vae.config.latent_channels
    factor_C, mean_C = torch.full((channels,), float(config.scaling_factor)), torch.zeros(channels)
    stated = [name for name in STATISTICS if getattr(config, name, None) is not None]
    if not stated:
        return Scaling(factor_C, mean_C)
    if not set(STATISTICS) <= set(UNDOES[pipeline]) or len(stated) < len(STATISTICS):
        raise ModelError(
            f"VAE {model} has {' and '.join(stated)}, which a {pipeline} doesn't take back; choose another VAE, or a "
            "U-Net with SDXL's pair of text encoders, whose pipeline takes back both"
        )
    mean_C, std_C = (torch.tensor(getattr(config, name)).float().flatten() for name in STATISTICS)
    return Scaling(factor_C / std_C, mean_C)
