"""Latents of a diffusion recipe: how they are stored, read, sampled and scaled."""

from __future__ import annotations

import math

import pyarrow as pa
import torch
from torch import Generator, Tensor

from commoncanvas.config import DiffusionRecipe
from commoncanvas.encoding.columns import crop_column, latent_column, latent_info
from commoncanvas.encoding.states import states, stored, values
from commoncanvas.models.vae import VAE, downsampling, latent_side
from commoncanvas.models.vae_scaling import scaling_of
from commoncanvas.training.aspects import sizes
from commoncanvas.training.task import Batch


def latent_columns(recipe: DiffusionRecipe) -> tuple[str, ...]:
    """The columns that `LatentCodec` reads."""
    column = latent_column(recipe.vae, recipe.size)
    return (column, crop_column(column)) if recipe.encode.buckets else (column,)


class LatentCodec:
    """Reads a recipe's stored latents and makes a step's latents from them.

    Stored: [B, (2: mirror image,) (2: mean, deviation,) C, H, W]. `shape`: [C, H, W] of a square image.
    """

    def __init__(self, recipe: DiffusionRecipe, vae: VAE) -> None:
        self.info = latent_info(vae, recipe.vae, recipe.size, recipe.encode)
        self.column = latent_column(recipe.vae, recipe.size)
        side = latent_side(vae, recipe.size)
        self.shape = (vae.config.latent_channels, side, side)
        self.scaling = scaling_of(vae, recipe.vae, recipe.pipeline)
        self._config = recipe.encode
        self._downsampling = downsampling(vae)

    def read(self, table: pa.Table) -> Tensor:
        """Stored latents; with buckets, fp16 and of one aspect ratio."""
        column, stored_shape = table[self.column], self.info.shape
        if not self._config.buckets:
            return stored(column, stored_shape)
        axes = self._config.flipped + (self._config.posterior == "mean_std")
        leading = stored_shape[:axes]
        rows = states(column, (*leading, math.prod(stored_shape[axes:])))
        height, width = sizes(table[crop_column(self.column)])[0] // self._downsampling
        shape = (self.shape[0], height, width)
        return rows[..., : math.prod(shape)].reshape(-1, *leading, *shape)

    def draw(self, size: int, stored_B: Tensor, generator: Generator) -> Batch:
        """Random inputs of `size` samples: `noise` [B, C, H, W]; `mirrored` and `deviation` if these are stored."""
        # fp8 is stored as bytes without a shape; the images are squares.
        shape = self.shape if stored_B.dtype == torch.uint8 else stored_B.shape[-3:]
        device = generator.device
        drawn: Batch = {}
        if self._config.flipped:
            drawn["mirrored"] = torch.randint(2, (size,), generator=generator, device=device)
        if self._config.posterior == "mean_std":
            drawn["deviation"] = torch.randn(size, *shape, generator=generator, device=device)
        drawn["noise"] = torch.randn(size, *shape, generator=generator, device=device)
        return drawn

    def latents(self, batch: Batch) -> Tensor:
        """Scaled latents [B, C, H, W], mirrored and sampled with the random inputs of `draw`."""
        latents = values(batch["latents"], self.info.shape)
        if "mirrored" in batch:
            latents = latents[torch.arange(len(latents), device=latents.device), batch["mirrored"]]
        if "deviation" in batch:
            mean, deviation = latents.unbind(1)
            latents = mean + deviation * batch["deviation"]
        return self.scaling(latents)
