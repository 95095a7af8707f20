"""The autoencoder task: diffusers' AutoencoderKL learns to reconstruct the catalog's images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from commoncanvas.config import COLOUR_CELL, AutoencoderRecipe
from commoncanvas.core.errors import TrainingError
from commoncanvas.images.grid import save_grid
from commoncanvas.images.image import decode, square
from commoncanvas.models.devices import converted
from commoncanvas.models.vae import fold_normalisation, latent_side, to_images, to_pixels
from commoncanvas.provenance.record import Part
from commoncanvas.selection.select import Pins, select_rows
from commoncanvas.training.task import Batch, configuring

STATISTICS_ROWS = 4096
EXPORTED_AT_ONCE = 32
DRAWN = 16


class AutoencoderTask:
    columns = ("image",)
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, recipe: AutoencoderRecipe, pins: Pins | None) -> None:
        self.recipe = recipe
        self.rows = select_rows(recipe.data, self.columns, pins, encode=recipe.command("encode"))
        with configuring(f"{recipe.name}: vae is not a configuration of AutoencoderKL"):
            model = AutoencoderKL(**{"sample_size": recipe.size, **recipe.vae})
        if model.quant_conv is None or model.post_quant_conv is None:
            raise TrainingError(
                f"{recipe.name}: vae needs use_quant_conv and use_post_quant_conv, which normalise its latents"
            )
        side = latent_side(model, recipe.size)
        with configuring(f"{recipe.name}: vae can't be run"), torch.no_grad():
            model.encode(torch.zeros(1, 3, recipe.size, recipe.size))
            model.decode(torch.zeros(1, model.config.latent_channels, side, side))
        self.model: nn.Module = model
        self.latent_shape = (model.config.latent_channels, side, side)

    def batch(self, table: pa.Table, draws: NDArray[np.float64] | None = None) -> Batch:
        # Bytes here, floats on the device: conversion here would compete with the running step for CPU threads.
        images = [square(decode(data), self.recipe.size) for data in table["image"].to_pylist()]
        return {"images": torch.from_numpy(np.stack(images))}

    def random_inputs(self, size: int, batch: Batch, generator: Generator, done: float) -> Batch:
        if not self.recipe.kl_weight:
            return {}
        kind = torch.bfloat16 if self.recipe.train.precision == "bf16" else torch.float32
        shape = (size, *self.latent_shape)
        return {"noise": torch.randn(shape, generator=generator, device=generator.device, dtype=kind)}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        pixels_BCHW = to_pixels(batch["images"])
        moments = cast(AutoencoderKL, model).encode(pixels_BCHW).latent_dist
        latents = moments.mean + moments.std * batch["noise"] if "noise" in batch else moments.mode()
        reconstruction_BCHW = cast(AutoencoderKL, model).decode(latents, return_dict=False)[0].float()
        error_BCHW = reconstruction_BCHW - pixels_BCHW
        loss: Tensor = (
            self.recipe.l1_weight * error_BCHW.abs().mean()
            + self.recipe.mse_weight * error_BCHW.square().mean()
        )
        if self.recipe.colour_weight:
            # Averaging removes outlines and leaves the colours of areas, which small networks learn last.
            loss = loss + self.recipe.colour_weight * F.avg_pool2d(error_BCHW, COLOUR_CELL).abs().mean()
        if self.recipe.kl_weight:
            # The sum over the latent's elements, per pixel, as in latent diffusion (arXiv 2112.10752, appendix G).
            loss = loss + self.recipe.kl_weight * moments.kl().mean() / pixels_BCHW[0].numel()
        return loss

    def save_samples(self, model: nn.Module, path: Path) -> None:
        made = cast(AutoencoderKL, model)
        pixels = self._pixels(slice(DRAWN)).to(made.device)
        reconstruction = made.decode(made.encode(pixels).latent_dist.mode(), return_dict=False)[0]
        pairs = np.stack([to_images(pixels), to_images(reconstruction)], axis=1).reshape(
            -1, *to_images(pixels).shape[1:]
        )
        labels = ["image", "reconstruction"] * (len(pairs) // 2)
        save_grid([Image.fromarray(image) for image in pairs], labels, path)

    @torch.no_grad()
    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        """Write the weights, normalised so that each channel of the latents has zero mean and unit variance."""
        made = cast(AutoencoderKL, model.to("cpu").eval())
        count = min(STATISTICS_ROWS, len(self.rows.ids("train")))
        latents, errors = [], []
        # In parts, because the training may have had the memory of many GPUs.
        at_once = min(self.recipe.train.micro_batch or EXPORTED_AT_ONCE, EXPORTED_AT_ONCE)
        for start in range(0, count, at_once):
            pixels = self._pixels(slice(start, min(count, start + at_once)))
            latents.append(made.encode(pixels).latent_dist.mode())
            reconstruction = made.decode(latents[-1], return_dict=False)[0].clamp(-1, 1)
            errors.append((reconstruction - pixels).square().mean((1, 2, 3)) / 4)
        latents_BCHW, errors_B = torch.cat(latents), torch.cat(errors)
        fold_normalisation(made, latents_BCHW.mean((0, 2, 3)), latents_BCHW.std((0, 2, 3)))
        converted(made, self.recipe.export_precision)
        made.save_pretrained(folder, safe_serialization=True)
        # Pixels span [-1, 1]; the division by 4 above brings the error to a scale of 0 to 1.
        return {"psnr_db": round(float(-10 * errors_B.mean().log10()), 2)}

    def _pixels(self, positions: slice) -> Tensor:
        return to_pixels(self.batch(self.rows.read("train", positions, list(self.columns)))["images"])
