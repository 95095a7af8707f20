"""The diffusion task: a text-conditional U-Net on latents and text states that were computed ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import diffusers
import pyarrow as pa
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Generator, Tensor, nn

from commoncanvas import licenses
from commoncanvas.catalog.columns import ColumnInfo, sources_of
from commoncanvas.config import DiffusionRecipe
from commoncanvas.diffusion.objective import PREDICTION_TYPES, draw_timesteps, loss_weights, target
from commoncanvas.diffusion.sampling import generate_images, pipeline_scheduler
from commoncanvas.errors import RecipeError, TrainingError
from commoncanvas.latents.encode import column_info, latent_column, states, text_column
from commoncanvas.latents.text import TextEncoder
from commoncanvas.latents.vae import load_vae, scale, weights_sha256
from commoncanvas.provenance import Part, part
from commoncanvas.training.rows import select_rows
from commoncanvas.training.task import Batch, configuring
from commoncanvas.visual import labelled_grid


class DiffusionTask:
    def __init__(self, recipe: DiffusionRecipe, version: int | str | None) -> None:
        self.recipe = recipe
        self.columns = (
            latent_column(recipe.vae, recipe.size),
            text_column(recipe.text_encoder, recipe.text_length),
        )
        self.rows = select_rows(recipe.data, self.columns, version)
        self.vae = load_vae(recipe.vae)
        self.text_encoder = TextEncoder(recipe.text_encoder, recipe.text_length)
        vae = part("vae", recipe.vae, weights_sha256(self.vae))
        encoder = Part("text_encoder", recipe.text_encoder, weights_sha256(self.text_encoder.encoder))
        texts = [name for name in recipe.data.text if name in self.rows.catalog.schema.names]
        self.latent_shape = self._checked(self.columns[0], vae, ["image"])
        self.text_shape = self._checked(self.columns[1], encoder, texts)
        self.parts: tuple[Part, ...] = (vae, encoder, *self._captioners())
        for each in self.parts:
            each.check(licenses.Policy(recipe.data.policy), self.rows.catalog)
        self.model: nn.Module = self._unet()
        with configuring(f"{recipe.name}: noise.schedule is not a configuration of DDPMScheduler"):
            self.scheduler = DDPMScheduler(**recipe.noise.schedule)
        kind = self.scheduler.config.prediction_type
        if kind not in PREDICTION_TYPES:
            raise RecipeError(
                f"{recipe.name}: noise.schedule.prediction_type {kind!r} must be one of {', '.join(PREDICTION_TYPES)}"
            )
        # A sampler that doesn't exist is found now, not after the training.
        pipeline_scheduler(self.scheduler, recipe.sample)
        self.weights_T = loss_weights(
            self.scheduler.alphas_cumprod, self.scheduler.config.prediction_type, recipe.noise.min_snr_gamma
        )
        # Caption dropout puts the empty caption's states in place of the row's, as guidance does when sampling.
        self.empty_LD = self.text_encoder([""])[0]

    def _checked(self, column: str, part: Part, sources: Sequence[str]) -> tuple[int, ...]:
        """The shape of a column's values. Raises TrainingError unless `part` made it, of `sources` as they are now."""
        catalog = self.rows.catalog
        made = column_info(catalog, column)
        expected = ColumnInfo(part.sha256, sources_of(catalog.schema, sources), made.shape, part.model)
        if made.identity != expected.identity:
            raise TrainingError(
                f"column {column} of {catalog.uri} was made by {made.made_by}, and the recipe wants it by "
                f"{expected.made_by}; run encode --overwrite"
            )
        return made.shape

    def _captioners(self) -> list[Part]:
        """The models that wrote captions which it learns from."""
        schema = self.rows.catalog.schema
        written = [ColumnInfo.of(schema.field(name)) for name in self.rows.text_columns()]
        return [Part("captioner", info.model, info.sha256, info.trained_on) for info in written if info]

    def _unet(self) -> nn.Module:
        channels, side, _ = self.latent_shape
        derived = {
            "sample_size": side,
            "in_channels": channels,
            "out_channels": channels,
            "cross_attention_dim": self.text_shape[1],
        }
        with configuring(f"{self.recipe.name}: unet is not a configuration of UNet2DConditionModel"):
            unet = UNet2DConditionModel(**{**derived, **self.recipe.unet})
        with configuring(f"{self.recipe.name}: unet can't be run"), torch.no_grad():
            unet(torch.zeros(1, *self.latent_shape), torch.zeros(1).long(), torch.zeros(1, *self.text_shape))
        # The first prediction is zero, the target's mean.
        nn.init.zeros_(unet.conv_out.weight)
        nn.init.zeros_(unet.conv_out.bias)
        return cast(nn.Module, unet)

    def batch(self, table: pa.Table) -> Batch:
        latents, text = (table[name] for name in self.columns)
        return {"latents": states(latents, self.latent_shape), "text": states(text, self.text_shape)}

    def loss(self, model: nn.Module, batch: Batch, generator: Generator) -> Tensor:
        latents_BCHW = scale(self.vae, batch["latents"].float())
        text_BLD = batch["text"].float()
        size, device = len(latents_BCHW), latents_BCHW.device

        noise_BCHW = torch.randn(latents_BCHW.shape, generator=generator, device=device)
        timesteps_B = draw_timesteps(
            size, self.scheduler.config.num_train_timesteps, self.recipe.noise.timesteps, generator
        )
        dropped_B = torch.rand(size, generator=generator, device=device) < self.recipe.caption_dropout
        text_BLD = torch.where(dropped_B[:, None, None], self.empty_LD.to(device), text_BLD)

        noisy_BCHW = self.scheduler.add_noise(latents_BCHW, noise_BCHW, timesteps_B)
        predicted_BCHW = model(noisy_BCHW, timesteps_B, text_BLD, return_dict=False)[0]
        target_BCHW = target(self.scheduler, latents_BCHW, noise_BCHW, timesteps_B)
        error_B = (predicted_BCHW.float() - target_BCHW).square().mean((1, 2, 3))
        loss: Tensor = (error_B * self.weights_T.to(device)[timesteps_B]).mean()
        return loss

    def pipeline(self, model: nn.Module) -> StableDiffusionPipeline:
        """The pipeline that anyone gets from the exported folder, around the weights of now."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder.encoder,
            tokenizer=self.text_encoder.tokenizer,
            unet=model,
            scheduler=pipeline_scheduler(self.scheduler, self.recipe.sample),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def draw(self, model: nn.Module, path: Path) -> None:
        prompts = self.recipe.sample.prompts or [text for text in self.rows.texts("train") if text][:16]
        sample = self.recipe.sample
        images = generate_images(
            self.pipeline(model).to(next(model.parameters()).device),
            prompts,
            seeds=[self.recipe.seed] * len(prompts),
            guidance_scale=sample.guidance_scale,
            steps=sample.steps,
        )
        labelled_grid(images, prompts).save(path)

    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        self.pipeline(model.to("cpu")).save_pretrained(folder, safe_serialization=True)
        return {"diffusers": diffusers.__version__}
