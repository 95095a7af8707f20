"""Scale raw latents for a network: the exact inverse of what the exported pipeline does before it decodes.

One table says what each diffusers pipeline undoes. Training, statistics and evaluation all use it.
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
"""Pipeline -> fields of a VAE's configuration that it undoes. No pipeline undoes a `shift_factor`, so latents are not
shifted by it.
"""


@dataclass(frozen=True)
class Scaling:
    """Latents [B, C, H, W] -> (latents - mean) * factor, per channel."""

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
    """The scaling for the VAE of `model` in diffusers' class `pipeline`.

    Raises ModelError if the VAE has a scaling that this pipeline doesn't undo.
    """
    if pipeline not in UNDOES:
        raise ModelError(
            f"VAE {model}: pipeline {pipeline} is not supported; the supported ones are: {', '.join(UNDOES)}"
        )
    config, channels = vae.config, vae.config.latent_channels
    factor_C, mean_C = torch.full((channels,), float(config.scaling_factor)), torch.zeros(channels)
    stated = [name for name in STATISTICS if getattr(config, name, None) is not None]
    if not stated:
        return Scaling(factor_C, mean_C)
    if not set(STATISTICS) <= set(UNDOES[pipeline]) or len(stated) < len(STATISTICS):
        raise ModelError(
            f"VAE {model} has {' and '.join(stated)}, which a {pipeline} doesn't undo; use another VAE, or a U-Net "
            "with SDXL's pair of text encoders, whose pipeline undoes both"
        )
    mean_C, std_C = (torch.tensor(getattr(config, name)).float().flatten() for name in STATISTICS)
    return Scaling(factor_C / std_C, mean_C)
