"""The recipe's U-Net on the meta device, where nothing is computed: its parameters, and the FLOPs of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from commoncanvas.config import DiffusionRecipe
from commoncanvas.errors import RecipeError
from commoncanvas.planning.parts import Latents, TextStates
from commoncanvas.training.task import configuring

TIME_IDS = 6
"""What SDXL's U-Net is told of a picture besides its text (arXiv 2307.01952, section 2.2)."""


@dataclass(frozen=True)
class Network:
    """`flops`: of matrix products and convolutions, forward and backward, for one image; a multiply-add is two."""

    parameters: int
    flops: int


def network_of(recipe: DiffusionRecipe, latents: Latents, text: TextStates) -> Network:
    """Build the U-Net and count one step of one image. Raises RecipeError if it can't be built or run."""
    side, rest = divmod(recipe.size, latents.downsampling)
    if rest:
        raise RecipeError(
            f"{recipe.name}: size {recipe.size} is not a multiple of the VAE's downsampling factor "
            f"{latents.downsampling}"
        )
    unet = build(recipe, side, latents, text)
    if recipe.train.activation_checkpointing:
        unet.enable_gradient_checkpointing()
    inputs: dict[str, Any] = {
        "sample": torch.zeros(1, latents.channels, side, side, device="meta"),
        "timestep": torch.zeros(1, dtype=torch.long, device="meta"),
        "encoder_hidden_states": torch.zeros(1, recipe.text_length, text.width, device="meta"),
    }
    if recipe.unet.get("addition_embed_type") == "text_time":
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.zeros(1, text.pooled, device="meta"),
            "time_ids": torch.zeros(1, TIME_IDS, device="meta"),
        }
    counter = FlopCounterMode(display=False)
    with configuring(f"{recipe.name}: unet can't be run"), counter:
        unet(**inputs, return_dict=False)[0].sum().backward()
    return Network(sum(weights.numel() for weights in unet.parameters()), counter.get_total_flops())


def build(recipe: DiffusionRecipe, side: int, latents: Latents, text: TextStates) -> Any:
    """The U-Net for latents of `side` cells, in training mode. Raises RecipeError."""
    derived = {
        "sample_size": side,
        "in_channels": latents.channels,
        "out_channels": latents.channels,
        "cross_attention_dim": text.width,
    }
    if recipe.unet.get("addition_embed_type") == "text_time":
        if not text.pooled:
            raise RecipeError(
                f"{recipe.name}: unet.addition_embed_type text_time adds a pooled state, which text_encoder "
                f"{recipe.text_encoder} doesn't give; take SDXL's pair, or leave it out"
            )
        sinusoids = recipe.unet.get("addition_time_embed_dim") or 0
        derived["projection_class_embeddings_input_dim"] = text.pooled + TIME_IDS * sinusoids
    with (
        configuring(f"{recipe.name}: unet is not a configuration of UNet2DConditionModel"),
        torch.device("meta"),
    ):
        return UNet2DConditionModel(**{**derived, **recipe.unet}).train()
