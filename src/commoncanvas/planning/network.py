"""Parameters and FLOPs of a recipe's network. It is built on the meta device, which computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from commoncanvas.config import DiffusionRecipe
from commoncanvas.config.recipes import POOLED
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.crops import Crop
from commoncanvas.planning.parts import Latents, TextStates
from commoncanvas.training.init_weights import check_network
from commoncanvas.training.networks.transformer import draw_ids_keep, predict_unmasked, unstarted
from commoncanvas.training.networks.unet import added, unet_config
from commoncanvas.training.task import configuring


@dataclass(frozen=True)
class Network:
    """`flops`: for one image, of matrix products and convolutions, forward and backward; a multiply-add is two."""

    parameters: int
    flops: int


def network_of(recipe: DiffusionRecipe, latents: Latents, text: TextStates) -> Network:
    """Build the network and count one step of one image. A transformer gets only the patches that training keeps.
    `alignment` is not counted: only the catalog has its features. Raises RecipeError if it can't be built or run.
    """
    side, rest = divmod(recipe.size, latents.downsampling)
    if rest:
        raise RecipeError(
            f"{recipe.name}: size {recipe.size} is not a multiple of the VAE's downsampling factor "
            f"{latents.downsampling}"
        )
    network = build(recipe, side, latents, text)
    if recipe.init and Path(recipe.init).exists():
        check_network(network, recipe, "transformer" if recipe.transformer else "unet")
    if recipe.train.activation_checkpointing:
        network.enable_gradient_checkpointing()
    noisy = torch.zeros(1, latents.channels, side, side, device="meta")
    cond: dict[str, Any] = {
        "timestep": torch.zeros(1, dtype=torch.long, device="meta"),
        "encoder_hidden_states": torch.zeros(1, recipe.text_length, text.width, device="meta"),
    }
    if recipe.transformer:
        cond["encoder_attention_mask"] = torch.ones(1, recipe.text_length, device="meta")
    if recipe.unet.get("addition_embed_type") == POOLED:
        cond["added_cond_kwargs"] = added(
            torch.zeros(1, text.pooled, device="meta"), torch.zeros(1, len(Crop._fields), device="meta")
        )
    counter = FlopCounterMode(display=False)
    output: Any
    kind = "transformer" if recipe.transformer else "unet"
    with configuring(f"{recipe.name}: {kind} can't be run"), counter:
        if recipe.masked_patches:
            patch_size, share = network.config.patch_size, recipe.masked_patches
            kept = draw_ids_keep(1, noisy.shape, patch_size, share, torch.Generator()).to("meta")
            output = predict_unmasked(network, noisy, kept, recipe.patch_mixer, **cond)
        else:
            output = network(noisy, **cond, return_dict=False)[0]
        output.sum().backward()
    return Network(sum(weights.numel() for weights in network.parameters()), counter.get_total_flops())


def build(recipe: DiffusionRecipe, side: int, latents: Latents, text: TextStates) -> Any:
    """The network for latents of `side` cells, in training mode. Raises RecipeError."""
    if recipe.unet.get("addition_embed_type") == POOLED and not text.pooled:
        raise RecipeError(
            f"{recipe.name}: unet.addition_embed_type {POOLED} adds a pooled state, which text_encoder "
            f"{recipe.text_encoder} doesn't have; use SDXL's pair, or leave addition_embed_type out"
        )
    if recipe.transformer:
        with torch.device("meta"):
            return unstarted(recipe, (latents.channels, side, side), text.width, text.pooled).train()
    config = unet_config(recipe, (latents.channels, side, side), text.width, text.pooled)
    with (
        configuring(f"{recipe.name}: unet is not a configuration of UNet2DConditionModel"),
        torch.device("meta"),
    ):
        return UNet2DConditionModel(**config).train()
