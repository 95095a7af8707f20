"""The U-Net of a diffusion recipe, and its pipeline."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from commoncanvas.config import DiffusionRecipe
from commoncanvas.config.recipes import POOLED
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.sampling import pipeline_scheduler
from commoncanvas.encoding.crops import Crop
from commoncanvas.models.text_encoder import TextEncoder
from commoncanvas.training.init_weights import start
from commoncanvas.training.task import configuring


def unet_config(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], text_width: int, pooled_width: int
) -> dict[str, Any]:
    """The recipe's `unet`, with fields derived from its latents [C, H, W] and its text states."""
    channels, side, _ = latent_shape
    derived: dict[str, Any] = {
        "sample_size": side,
        "in_channels": channels,
        "out_channels": channels,
        "cross_attention_dim": text_width,
    }
    if recipe.unet.get("addition_embed_type") == POOLED:
        times = recipe.unet.get("addition_time_embed_dim") or 0
        derived["projection_class_embeddings_input_dim"] = pooled_width + len(Crop._fields) * times
    return derived | recipe.unet


def build_unet(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], encoder: TextEncoder
) -> UNet2DConditionModel:
    """The U-Net, tested by one run on zeros. Its weights are random, or those of the recipe's `init`.

    Raises RecipeError for a configuration that can't be run, or that differs from that of `init`; ModelError.
    """
    pooled = recipe.unet.get("addition_embed_type") == POOLED
    if pooled != encoder.pair:
        raise RecipeError(
            f"{recipe.name}: text_encoder {recipe.text_encoder} is {'' if encoder.pair else 'not '}SDXL's pair; "
            f"that pair, and no other text encoder, needs unet.addition_embed_type {POOLED}"
        )
    config = unet_config(recipe, latent_shape, encoder.width, encoder.pooled_width)
    with configuring(f"{recipe.name}: unet is not a configuration of UNet2DConditionModel"):
        unet = UNet2DConditionModel(**config)
    with configuring(f"{recipe.name}: unet can't be run"), torch.no_grad():
        unet(
            torch.zeros(1, *latent_shape),
            torch.zeros(1).long(),
            torch.zeros(1, encoder.length, encoder.width),
            added_cond_kwargs=added(torch.zeros(1, encoder.pooled_width), torch.zeros(1, len(Crop._fields)))
            if pooled
            else None,
        )
    if recipe.init is not None:
        start(unet, recipe, "unet")
        return unet
    # The first prediction is zero, the target's mean.
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def added(pooled_BP: Tensor, crops_B6: Tensor) -> dict[str, Tensor]:
    """The conditions of SDXL's U-Net besides the text states: diffusers' `added_cond_kwargs`."""
    return {"text_embeds": pooled_BP, "time_ids": crops_B6}


def build_pipeline(
    unet: nn.Module,
    vae: AutoencoderKL,
    encoder: TextEncoder,
    training: DDPMScheduler,
    recipe: DiffusionRecipe,
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """diffusers' pipeline: SDXL's if the text encoder is SDXL's pair, otherwise Stable Diffusion's."""
    scheduler = pipeline_scheduler(training, recipe.sample)
    if not encoder.pair:
        return StableDiffusionPipeline(
            vae=vae,
            text_encoder=encoder.encoder,
            tokenizer=encoder.tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    first, second = encoder.encoders
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=encoder.tokenizers[0],
        tokenizer_2=encoder.tokenizers[1],
        unet=unet,
        scheduler=scheduler,
        # Caption dropout replaces a caption by the empty caption, not by zeros.
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
